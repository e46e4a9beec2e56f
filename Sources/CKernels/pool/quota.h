/* The processor time that the control groups of this process allow. */
#ifndef LYRA_KERNELS_QUOTA_H
#define LYRA_KERNELS_QUOTA_H

/* The tightest CPU quota of the process's control group and its parents (cgroup v2's cpu.max, v1's cpu.cfs_quota_us) in
 * processors, rounded up; 0 without a quota, or if no quota can be read. `root` is a prefix of every path: "" except
 * in tests. */
int lk_quota_processors(const char *root);

#endif
