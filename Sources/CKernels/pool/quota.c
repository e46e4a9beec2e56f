/* The kernel documents the files in Documentation/admin-guide/cgroup-v2.rst and scheduler/sched-bwc.rst, and
 * /proc/self/cgroup and mountinfo in cgroups(7) and proc(5). All memory is the heap's: the caller's stack may be
 * small. */
#define _GNU_SOURCE
#include "quota.h"
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Opens root + path + name. */
static FILE *open_below(const char *root, const char *path, const char *name) {
    char *whole = NULL;
    if (asprintf(&whole, "%s%s%s", root, path, name) < 0) return NULL;
    FILE *file = fopen(whole, "re");
    free(whole);
    return file;
}

/* Returns the first line of a file, or null. The caller frees it. */
static char *first_line(const char *root, const char *path, const char *name) {
    FILE *file = open_below(root, path, name);
    char *line = NULL;
    size_t room = 0;
    if (!file) return NULL;
    if (getline(&line, &room, file) < 0) {
        free(line);
        line = NULL;
    }
    fclose(file);
    return line;
}

/* An integer above 0 at the beginning of `text`, or 0. *end points behind the number. */
static long long positive(const char *text, char **end) {
    long long value = strtoll(text, end, 10);
    return *end == text || value <= 0 || value == LLONG_MAX ? 0 : value;
}

static int rounded_up(long long quota, long long period) {
    if (quota <= 0 || period <= 0) return 0;
    long long processors = quota / period + (quota % period != 0);
    return processors < INT_MAX ? (int)processors : 0;
}

/* "50000 100000", or "max 100000". */
static int limit_v2(const char *root, const char *path) {
    char *line = first_line(root, path, "/cpu.max"), *rest = line;
    long long quota = line ? positive(line, &rest) : 0, period = quota ? positive(rest, &rest) : 0;
    free(line);
    return rounded_up(quota, period);
}

/* Quota and period have a file each. A quota of -1 means no limit. */
static int limit_v1(const char *root, const char *path) {
    char *quota = first_line(root, path, "/cpu.cfs_quota_us"), *end;
    char *period = first_line(root, path, "/cpu.cfs_period_us");
    int processors = quota && period ? rounded_up(positive(quota, &end), positive(period, &end)) : 0;
    free(quota);
    free(period);
    return processors;
}

/* Whether `name` is one of the comma-separated words of `list`. */
static int lists(const char *list, const char *name) {
    size_t length = strlen(name);
    for (const char *word = list; word; word = strchr(word, ','), word = word ? word + 1 : NULL)
        if (strncmp(word, name, length) == 0 && strchr(",\n", word[length])) return 1; /* '\0' is found, too */
    return 0;
}

/* mountinfo escapes spaces and some other characters in octal, as in \040. */
static void unescape(char *text) {
    char *to = text;
    for (const char *from = text; *from; to++) {
        unsigned code = 0;
        if (from[0] == '\\' && sscanf(from + 1, "%3o", &code) == 1 && strspn(from + 1, "01234567") >= 3) {
            *to = (char)code;
            from += 4;
        } else *to = *from++;
    }
    *to = 0;
}

/* The process's control group: of version 2, or of version 1 in the hierarchy that limits processor time. The caller
 * frees it. */
static char *group(const char *root, int version) {
    FILE *file = open_below(root, "", "/proc/self/cgroup");
    char *line = NULL, *found = NULL;
    size_t room = 0;
    while (file && !found && getline(&line, &room, file) >= 0) { /* "0::/a/b", "4:cpu,cpuacct:/a/b" */
        char *controllers = strchr(line, ':'), *path = controllers ? strchr(controllers + 1, ':') : NULL;
        if (!path) continue;
        *path++ = 0;
        path[strcspn(path, "\n")] = 0;
        int is_wanted = version == 2 ? strncmp(line, "0:", 2) == 0 && !controllers[1] : lists(controllers + 1, "cpu");
        if (is_wanted && path[0] == '/') found = strdup(path);
    }
    free(line);
    if (file) fclose(file);
    return found;
}

/* One line of mountinfo, "36 35 98:0 /root /mount/point options … - type source options", of a hierarchy of control
 * groups → its mount point, and in *top the group that is mounted there; both point into the line. Null for other
 * lines. */
static char *mount_point(char *line, int version, char **top) {
    char *state, *fields[5], *tail = strstr(line, " - ");
    if (!tail) return NULL;
    *tail = 0;
    for (int i = 0; i < 5; i++)
        if (!(fields[i] = strtok_r(i ? NULL : line, " ", &state))) return NULL;
    char *type = strtok_r(tail + 3, " \n", &state), *source = strtok_r(NULL, " \n", &state);
    char *options = strtok_r(NULL, " \n", &state);
    if (!type || !source || !options || strcmp(type, version == 2 ? "cgroup2" : "cgroup") != 0) return NULL;
    if (version == 1 && !lists(options, "cpu")) return NULL;
    unescape(fields[3]);
    unescape(fields[4]);
    *top = fields[3];
    return fields[4];
}

static int tighter(int a, int b) { return a == 0 || (b > 0 && b < a) ? b : a; }

/* The tightest limit of the group at `path` and of its parents up to the mount point. */
static int limit_up_to(const char *root, const char *mount, const char *path, int version) {
    char *whole = NULL;
    const char *top = strcmp(mount, "/") == 0 ? "" : mount, *below = strcmp(path, "/") == 0 ? "" : path;
    if (asprintf(&whole, "%s%s", top, below) < 0) return 0;
    size_t shortest = strcmp(mount, "/") == 0 ? 0 : strlen(mount);
    int limit = 0;
    for (;;) {
        limit = tighter(limit, version == 2 ? limit_v2(root, whole) : limit_v1(root, whole));
        char *last = strlen(whole) > shortest ? strrchr(whole, '/') : NULL;
        if (!last) break;
        *last = 0;
    }
    free(whole);
    return limit;
}

static int limit_of(const char *root, int version) {
    char *path = group(root, version), *line = NULL;
    FILE *file = path ? open_below(root, "", "/proc/self/mountinfo") : NULL;
    size_t room = 0;
    int limit = 0;
    while (file && getline(&line, &room, file) >= 0) {
        char *top, *mount = mount_point(line, version, &top);
        if (!mount) continue;
        /* In a container the path may be the host's; the mount then starts at the container's own group. */
        size_t hidden = strcmp(top, "/") == 0 ? 0 : strlen(top);
        int is_below = strncmp(path, top, hidden) == 0 && (path[hidden] == '/' || !path[hidden]);
        const char *visible = is_below && !strstr(path, "/..") ? path + hidden : "";
        limit = tighter(limit, limit_up_to(root, mount, visible, version));
    }
    free(line);
    free(path);
    if (file) fclose(file);
    return limit;
}

int lk_quota_processors(const char *root) { return tighter(limit_of(root, 2), limit_of(root, 1)); }
