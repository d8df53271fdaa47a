/* The memory allocator of the program: jemalloc, which the program is linked with unless it is built with a sanitizer (these bring
 * their own). Why: doc/design/allocator.md. */
#ifndef APP_ALLOCATOR_H
#define APP_ALLOCATOR_H

/* Once, in a process that serves, when its threads may start: memory that was freed goes back to the system also while the process
 * has nothing to do. A fork ends that in the child. */
void allocator_start(void);

#endif
