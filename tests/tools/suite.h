/* Running a suite of Check. */
#ifndef SD_TESTS_SUITE_H
#define SD_TESTS_SUITE_H

#include <check.h>

/* Returns main's exit code. CK_NOFORK runs it in one process, where sanitizers and threads see
 * everything; CK_FORK_GETENV as the environment says. Frees the suite. */
static inline int suite_run(Suite *suite, enum fork_status forks) {
    SRunner *runner = srunner_create(suite);
    srunner_set_fork_status(runner, forks);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? 1 : 0;
}

#endif
