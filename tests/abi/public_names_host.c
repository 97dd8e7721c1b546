/* The program's functions of public_names.c, in a file of their own since sd.h declares others. */
extern int public_names_met;
int public_names_met;

#define OURS(name)                                                                                 \
    int name(void);                                                                                \
    int name(void) {                                                                               \
        return ++public_names_met;                                                                 \
    }

OURS(sd_library_version)
OURS(sd_library_version_string)
