/* A plugin of qemu's user-mode emulators that counts the guest's instructions and writes the count at marks.
 *
 * The guest makes mark n with lseek(fd, MARK << 32 | n, SEEK_SET) of /dev/null, a system call that does nothing. For
 * each one a line "n count" is written to the file that EDGEFM_COUNTS names; count is that of all instructions begun
 * so far by all threads of the process.
 *
 * The emulator calls `begun` before each translated block, with the number of its instructions. A block ends at a
 * system call, so the count is exact at a mark. It is not exact after a fault in the middle of a block.
 *
 * The prototypes below are qemu's plugin interface (include/qemu/qemu-plugin.h, documented in docs/devel/tcg-plugins),
 * written down anew so that no header of qemu, which Debian does not package, is needed. The plugin is compiled on the
 * user's machine and is loaded by the user's qemu (GPL-2); no part of qemu is in it.
 *
 * PLUGIN_API: number of the interface; the functions used here are the same from 1 (qemu 6.0) on.
 */

#include <inttypes.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

#ifndef PLUGIN_API
#define PLUGIN_API 1
#endif
#define EXPORT __attribute__((visibility("default")))

typedef uint64_t qemu_plugin_id_t;
struct qemu_info;
struct qemu_plugin_tb;
enum qemu_plugin_cb_flags { QEMU_PLUGIN_CB_NO_REGS };
typedef void (*translated_cb)(qemu_plugin_id_t, struct qemu_plugin_tb *);
typedef void (*executed_cb)(unsigned int, void *);
typedef void (*syscall_cb)(qemu_plugin_id_t, unsigned int, int64_t, uint64_t, uint64_t, uint64_t, uint64_t, uint64_t,
                           uint64_t, uint64_t, uint64_t);

size_t qemu_plugin_tb_n_insns(const struct qemu_plugin_tb *block);
void qemu_plugin_register_vcpu_tb_trans_cb(qemu_plugin_id_t id, translated_cb callback);
void qemu_plugin_register_vcpu_tb_exec_cb(struct qemu_plugin_tb *block, executed_cb callback,
                                          enum qemu_plugin_cb_flags flags, void *data);
void qemu_plugin_register_vcpu_syscall_cb(qemu_plugin_id_t id, syscall_cb callback);

EXPORT int qemu_plugin_version = PLUGIN_API;

enum {
    LSEEK = 62,         /* on aarch64 */
    MARK = 0x45444745,  /* "EDGE" */
    THREADS = 4096,
};

static uint64_t counts[THREADS];  /* one a thread: only its own thread writes it */
static FILE *marks;

static void begun(unsigned int thread, void *instructions)
{
    counts[thread % THREADS] += (uintptr_t)instructions;
}

static void translated(qemu_plugin_id_t id, struct qemu_plugin_tb *block)
{
    (void)id;
    qemu_plugin_register_vcpu_tb_exec_cb(block, begun, QEMU_PLUGIN_CB_NO_REGS,
                                         (void *)(uintptr_t)qemu_plugin_tb_n_insns(block));
}

static void called(qemu_plugin_id_t id, unsigned int thread, int64_t number, uint64_t first, uint64_t second,
                   uint64_t third, uint64_t fourth, uint64_t fifth, uint64_t sixth, uint64_t seventh, uint64_t eighth)
{
    (void)id, (void)thread, (void)first, (void)third, (void)fourth, (void)fifth, (void)sixth, (void)seventh, (void)eighth;
    if (number != LSEEK || second >> 32 != MARK)
        return;
    uint64_t sum = 0;
    for (int index = 0; index < THREADS; index++)
        sum += counts[index];
    fprintf(marks, "%" PRIu32 " %" PRIu64 "\n", (uint32_t)second, sum);
    fflush(marks);
}

EXPORT int qemu_plugin_install(qemu_plugin_id_t id, const struct qemu_info *info, int argc, char **argv)
{
    (void)info, (void)argc, (void)argv;
    const char *path = getenv("EDGEFM_COUNTS");
    marks = path == NULL ? NULL : fopen(path, "w");
    if (marks == NULL) {
        fprintf(stderr, "EDGEFM_COUNTS names no file that can be written\n");
        return 1;
    }
    qemu_plugin_register_vcpu_tb_trans_cb(id, translated);
    qemu_plugin_register_vcpu_syscall_cb(id, called);
    return 0;
}
