/* How much processor time the control groups of this process leave it. */
#ifndef LYRA_KERNELS_QUOTA_H
#define LYRA_KERNELS_QUOTA_H

/* Processors that the tightest quota of the process's control group and those above it amounts to (cgroup v2's cpu.max,
 * v1's cpu.cfs_quota_us), rounded up: 0 if there is none, or it cannot be read. `root` is put before each path: "". */
int lk_quota_processors(const char *root);

#endif
