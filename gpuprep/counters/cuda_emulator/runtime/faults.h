// What is wrong with a kernel, written down for Python to put into words.
#pragma once

#include <pthread.h>

#include "state.h"

namespace gp {

FindingRecord blank_finding(Kind kind, Detail detail, Severity severity);
Place place_of(const Lane& lane, u64 site);
// Keeps a finding, once for each kind, detail and pair of lines; false when it was known or there is no room.
bool keep(const FindingRecord& finding);
[[noreturn]] void stop(const FindingRecord& finding);  // keeps it and ends the launch
[[noreturn]] void finish(State state);                 // ends the process; what was counted so far stands

[[noreturn]] void misaligned(u64 address, u32 n_bytes, bool is_store, u64 site);
[[noreturn]] void out_of_bounds(u64 address, u32 n_bytes, bool is_store, u64 site);
[[noreturn]] void static_index(i64 index, const char* array_type, u64 site);
// Checks an address outside shared memory and stacks. False for constants of the program, which nobody counts.
bool is_in_global_memory(u64 address, u32 n_bytes, bool is_store, u64 site);

void describe_address(FindingRecord& finding, u64 address);  // fills buffer and index
extern pthread_t workers[];  // of the launch
void catch_signals();        // of the process
void open_signal_stack();    // of this thread
void start_time_limit();
void append_output(const char* text, u32 n_bytes);

}  // namespace gp
