/* The processors that a container's quota allows, by the kernel's cgroup files: in root directories made here. */
#include "../../Sources/CKernels/pool/quota.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

static char root[4096];
static int failures = 0;

/* Writes root/path, and creates its folders. */
static void put(const char *path, const char *text) {
    char whole[8192];
    snprintf(whole, sizeof whole, "%s/%s", root, path);
    for (char *slash = whole + strlen(root) + 1; (slash = strchr(slash, '/')); slash++) {
        *slash = 0;
        mkdir(whole, 0700);
        *slash = '/';
    }
    FILE *file = fopen(whole, "w");
    if (!file || fputs(text, file) < 0 || fclose(file) != 0) {
        printf("not ok - %s is written\n", whole);
        exit(1);
    }
}

static void begin(const char *folder, const char *name, const char *groups, const char *mounts) {
    snprintf(root, sizeof root, "%s/%s", folder, name);
    mkdir(root, 0700);
    put("proc/self/cgroup", groups);
    put("proc/self/mountinfo", mounts);
}

static void expect(int processors, const char *promise) {
    int found = lk_quota_processors(root);
    printf("%s - %s\n", found == processors ? "ok" : "not ok", promise);
    if (found != processors) {
        printf("# %d instead of %d\n", found, processors);
        failures++;
    }
}

#define V2 "29 22 0:26 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate\n"
#define V1 "30 22 0:27 / /sys/fs/cgroup/cpuset rw shared:5 - cgroup cgroup rw,cpuset\n" \
    "31 22 0:28 / /sys/fs/cgroup/cpu,cpuacct rw shared:6 - cgroup cgroup rw,cpu,cpuacct\n"

static void version_two(const char *folder) {
    begin(folder, "v2", "0::/a/b/c\n", "22 1 8:1 / / rw - ext4 /dev/sda1 rw\n" V2);
    expect(0, "without a file there is no limit");
    put("sys/fs/cgroup/a/b/c/cpu.max", "max 100000\n");
    expect(0, "\"max\" is no limit");
    put("sys/fs/cgroup/a/b/c/cpu.max", "200000 100000\n");
    expect(2, "v2: 200 ms in 100 ms are two processors");
    put("sys/fs/cgroup/a/b/c/cpu.max", "150000 100000\n");
    expect(2, "v2: a fraction of a processor is rounded up");
    put("sys/fs/cgroup/a/b/c/cpu.max", "1000 100000\n");
    expect(1, "v2: at least one");
    put("sys/fs/cgroup/a/b/c/cpu.max", "800000 100000\n");
    put("sys/fs/cgroup/a/cpu.max", "300000 100000\n");
    expect(3, "v2: the smallest limit of the parent groups counts");
    put("sys/fs/cgroup/a/b/c/cpu.max", "max 100000\n");
    expect(3, "v2: also under one without a limit");
    begin(folder, "v2 root", "0::/\n", V2);
    put("sys/fs/cgroup/cpu.max", "50000 20000\n");
    expect(3, "v2: the mount point's own limit, as a container sees it");
    begin(folder, "v2 bind", "0::/docker/abc/inner\n",
          "29 22 0:26 /docker/abc /sys/fs/my\\040groups rw - cgroup2 cgroup rw\n");
    put("sys/fs/my groups/inner/cpu.max", "400000 100000\n");
    expect(4, "v2: a mount of a subtree of the hierarchy, under a name with a space");
    begin(folder, "v2 host", "0::/../other\n", V2);
    put("sys/fs/cgroup/cpu.max", "700000 100000\n");
    put("sys/fs/other/cpu.max", "100000 100000\n");
    expect(7, "v2: nothing outside the mount is read");
}

static void version_one(const char *folder) {
    begin(folder, "v1", "5:cpuset:/x\n4:cpuacct,cpu:/docker/abc\n1:name=systemd:/y\n", V1);
    put("sys/fs/cgroup/cpu,cpuacct/docker/abc/cpu.cfs_quota_us", "-1\n");
    put("sys/fs/cgroup/cpu,cpuacct/docker/abc/cpu.cfs_period_us", "100000\n");
    expect(0, "v1: a quota of -1 is no limit");
    put("sys/fs/cgroup/cpu,cpuacct/docker/abc/cpu.cfs_quota_us", "250000\n");
    expect(3, "v1: 250 ms in 100 ms are rounded up to three processors");
    put("sys/fs/cgroup/cpu,cpuacct/docker/cpu.cfs_quota_us", "100000\n");
    put("sys/fs/cgroup/cpu,cpuacct/docker/cpu.cfs_period_us", "50000\n");
    expect(2, "v1: the smallest limit of the parent groups counts");
    begin(folder, "v1 container", "4:cpu,cpuacct:/docker/abc\n",
          "31 22 0:28 /docker/abc /sys/fs/cgroup/cpu,cpuacct ro - cgroup cgroup rw,cpu,cpuacct\n");
    put("sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us", "50000\n");
    put("sys/fs/cgroup/cpu,cpuacct/cpu.cfs_period_us", "100000\n");
    expect(1, "v1: the container's own subtree of the hierarchy");
    begin(folder, "both", "4:cpu,cpuacct:/\n0::/a\n",
          V1 "32 22 0:29 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n");
    put("sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us", "600000\n");
    put("sys/fs/cgroup/cpu,cpuacct/cpu.cfs_period_us", "100000\n");
    expect(6, "both versions at once: the one that limits processor time");
}

static void damaged(const char *folder) {
    static const char *const contents[] = {"", "\n", "x", "100000", "100000 0\n", "0 100000\n", "-5 100000\n",
                                           "100000 x\n", "99999999999999999999999 1\n", "9223372036854775806 1\n"};
    begin(folder, "damaged", "0::/a\n", V2);
    for (size_t i = 0; i < sizeof contents / sizeof *contents; i++) {
        char promise[100];
        put("sys/fs/cgroup/a/cpu.max", contents[i]);
        snprintf(promise, sizeof promise, "invalid content number %zu is no limit", i);
        expect(0, promise);
    }
    put("sys/fs/cgroup/a/cpu.max", "100000 100000\n");
    static const char *const groups[] = {"", "0\n", "0:\n", "0::\n", "0::a\n", ":::\n", "x:cpu\n"};
    for (size_t i = 0; i < sizeof groups / sizeof *groups; i++) {
        put("proc/self/cgroup", groups[i]);
        expect(0, "a damaged list of groups is no limit");
    }
    put("proc/self/cgroup", "0::/a\n");
    static const char *const mounts[] = {"", " - \n", "a b - cgroup2 c d\n", "29 22 0:26 / /sys - cgroup2\n",
                                         "- cgroup2"};
    for (size_t i = 0; i < sizeof mounts / sizeof *mounts; i++) {
        put("proc/self/mountinfo", mounts[i]);
        expect(0, "a damaged list of mounts is no limit");
    }
    snprintf(root, sizeof root, "%s/nowhere", folder);
    expect(0, "a system without /proc has no limit");
}

int main(int argc, char **argv) {
    if (argc != 2) return 64;
    version_two(argv[1]);
    version_one(argv[1]);
    damaged(argv[1]);
    return failures ? 1 : 0;
}
