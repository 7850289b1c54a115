#include "faults.h"

#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <time.h>
#include <ucontext.h>
#include <unistd.h>

#include <initializer_list>

#include "device_calls.h"
#include "fibers.h"

namespace gp {

static u32 findings_lock;
static u64 started_ns;

static u64 now_ns() {
  timespec time;
  clock_gettime(CLOCK_MONOTONIC, &time);
  return u64(time.tv_sec) * 1000000000ull + time.tv_nsec;
}

FindingRecord blank_finding(Kind kind, Detail detail, Severity severity) {
  FindingRecord finding;
  memset(&finding, 0, sizeof finding);
  finding.kind = kind;
  finding.detail = detail;
  finding.severity = severity;
  finding.buffer = kNone;
  finding.lanes = 1;
  return finding;
}

Place place_of(const Lane& lane, u64 site) {
  return Place{site,
               {gp_block_index.x, gp_block_index.y, gp_block_index.z},
               {lane.index.x, lane.index.y, lane.index.z}};
}

static bool is_same(const FindingRecord& a, const FindingRecord& b) {
  return a.kind == b.kind && a.detail == b.detail && a.severity == b.severity && a.here.site == b.here.site &&
         a.other.site == b.other.site && a.is_store == b.is_store;
}

bool keep(const FindingRecord& finding) {
  while (__atomic_exchange_n(&findings_lock, 1, __ATOMIC_ACQUIRE)) {
  }
  bool is_new = result->n_findings < kMaxFindings;
  for (u32 i = 0; is_new && i < result->n_findings; i++) is_new = !is_same(result->findings[i], finding);
  if (is_new) result->findings[result->n_findings++] = finding;
  __atomic_store_n(&findings_lock, 0, __ATOMIC_RELEASE);
  return is_new;
}

void finish(State state) {
  result->nanoseconds = now_ns() - started_ns;
  result->state = state;
  _exit(0);
}

void fail(State state) { finish(state); }

void stop(const FindingRecord& finding) {
  keep(finding);
  finish(State::stopped);
}

// ---- Addresses ----------------------------------------------------------------------------------------------------

void describe_address(FindingRecord& finding, u64 address) {
  finding.address = address;
  u64 slot = (address - kArenaBase) >> kSlotShift;
  if (slot < n_slots) {
    const Slot& s = slots[slot];
    finding.buffer = u32(slot);
    i64 offset = i64(address - s.low);
    i64 unit = s.element_bytes;
    finding.index = offset >= 0 ? offset / unit : -((-offset + unit - 1) / unit);
    return;
  }
  finding.index = i64(address - shared_low);
}

void out_of_bounds(u64 address, u32 n_bytes, bool is_store, u64 site) {
  // Thread-local storage is all that lies there: an index past an array's end, either way.
  constexpr u64 kNear = 1 << 18;
  bool is_shared = address + kNear > shared_low && address < shared_low + kNear;
  FindingRecord finding = blank_finding(Kind::out_of_bounds, is_shared ? Detail::shared : Detail::global, Severity::error);
  finding.here = place_of(*current, site);
  finding.n_bytes = n_bytes;
  finding.is_store = is_store;
  describe_address(finding, address);
  stop(finding);
}

void misaligned(u64 address, u32 n_bytes, bool is_store, u64 site) {
  FindingRecord finding = blank_finding(Kind::misaligned, Detail::alignment, Severity::error);
  finding.here = place_of(*current, site);
  finding.n_bytes = n_bytes;
  finding.is_store = is_store;
  describe_address(finding, address);
  stop(finding);
}

void static_index(i64 index, const char* array_type, u64 site) {
  FindingRecord finding = blank_finding(Kind::out_of_bounds, Detail::static_index, Severity::error);
  finding.here = place_of(*current, site);
  finding.index = index;
  strncpy(finding.text, array_type, kFindingText - 1);
  stop(finding);
}

extern "C" char etext, __data_start;

bool is_in_global_memory(u64 address, u32 n_bytes, bool is_store, u64 site) {
  u64 slot = (address - kArenaBase) >> kSlotShift;
  if (slot < n_slots) {
    const Slot& s = slots[slot];
    u64 offset = address - s.low;
    bool is_inside = address >= s.low && address + n_bytes <= s.high;
    if (is_inside && s.valid) {
      for (u64 element = offset / s.element_bytes; element <= (offset + n_bytes - 1) / s.element_bytes; element++) {
        is_inside = is_inside && s.valid[element];
      }
    }
    if (!is_inside) out_of_bounds(address, n_bytes, is_store, site);
    return true;
  }
  for (u32 i = 0; i < launch->n_objects; i++) {
    const ObjectSpec& object = objects[i];
    if (address - object.address < object.n_bytes && address + n_bytes <= object.address + object.n_bytes) {
      if (object.is_constant && is_store) {
        FindingRecord finding = blank_finding(Kind::out_of_bounds, Detail::constant_store, Severity::error);
        finding.here = place_of(*current, site);
        finding.n_bytes = n_bytes;
        finding.is_store = 1;
        finding.address = address;
        stop(finding);
      }
      return !object.is_constant;
    }
  }
  // A block's geometry, where the language has to read it through an address.
  for (const gp_dim3* geometry : {&gp_thread_index, &gp_block_index, &gp_block_size, &gp_grid_size}) {
    if (!is_store && address - reinterpret_cast<u64>(geometry) < sizeof(gp_dim3)) return false;
  }
  // Tables that the program only reads lie between its code and its variables.
  bool is_table = address >= reinterpret_cast<u64>(&etext) && address < reinterpret_cast<u64>(&__data_start);
  if (!is_store && is_table) return false;
  out_of_bounds(address, n_bytes, is_store, site);
}

// ---- Signals ------------------------------------------------------------------------------------------------------

static bool is_kernel_code(u64 pc) {
  const FunctionSpec* functions = reinterpret_cast<const FunctionSpec*>(file + launch->functions_offset);
  for (u32 i = 0; i < launch->n_functions; i++) {
    if (pc >= functions[i].entry - 64 && pc < functions[i].end) return true;
  }
  return false;
}

static void on_signal(int number, siginfo_t* info, void* context) {
  u64 pc = u64(static_cast<ucontext_t*>(context)->uc_mcontext.gregs[REG_RIP]);
  u64 address = reinterpret_cast<u64>(info->si_addr);
  Lane* lane = recent->trace ? recent : nullptr;
  Kind kind = Kind::crash;
  if (number == SIGFPE) kind = Kind::division_by_zero;
  if (number == SIGSEGV && is_in_guard(address)) kind = Kind::stack_overflow;
  FindingRecord finding = blank_finding(kind, Detail::none, Severity::error);
  if (lane) {
    // Sites are return addresses: one past the instruction that a line is asked of.
    finding.here = place_of(*lane, is_kernel_code(pc) ? pc + 1 : lane->last_block);
  }
  finding.address = address;
  finding.index = number;
  result->stop_signal = u32(number);
  stop(finding);
}

static void on_time_limit(int, siginfo_t*, void* context) {
  if (!recent->trace) {
    // This thread has no lane (any more): one of the others is the one that doesn't end.
    for (u32 i = 0; i < launch->n_threads; i++) {
      if (!pthread_equal(workers[i], pthread_self())) pthread_kill(workers[i], SIGPROF);
    }
    return;
  }
  u64 pc = u64(static_cast<ucontext_t*>(context)->uc_mcontext.gregs[REG_RIP]);
  Lane* lane = recent->trace ? recent : nullptr;
  FindingRecord finding = blank_finding(Kind::endless_loop, Detail::none, Severity::error);
  if (lane) finding.here = place_of(*lane, is_kernel_code(pc) ? pc + 1 : lane->last_block);
  finding.index = i64(launch->time_limit_us);
  stop(finding);
}

void open_signal_stack() {
  constexpr u64 kBytes = 64 * 1024;
  stack_t stack = {};
  stack.ss_sp = reserve(kBytes);
  stack.ss_size = kBytes;
  sigaltstack(&stack, nullptr);
}

void catch_signals() {
  started_ns = now_ns();
  struct sigaction action = {};
  action.sa_flags = SA_SIGINFO | SA_ONSTACK;
  action.sa_sigaction = on_signal;
  for (int number : {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP}) sigaction(number, &action, nullptr);
  action.sa_sigaction = on_time_limit;
  sigaction(SIGPROF, &action, nullptr);
}

void start_time_limit() {
  // Processor time: a busy machine must not make a sound kernel look endless.
  itimerval timer = {};
  timer.it_value.tv_sec = launch->time_limit_us / 1000000;
  timer.it_value.tv_usec = launch->time_limit_us % 1000000;
  setitimer(ITIMER_PROF, &timer, nullptr);
}

void append_output(const char* text, u32 n_bytes) {
  while (__atomic_exchange_n(&findings_lock, 1, __ATOMIC_ACQUIRE)) {
  }
  u32 room = kOutputBytes - result->n_output;
  if (n_bytes > room) {
    n_bytes = room;
    result->output_is_cut = 1;
  }
  memcpy(result->output + result->n_output, text, n_bytes);
  result->n_output += n_bytes;
  __atomic_store_n(&findings_lock, 0, __ATOMIC_RELEASE);
}

}  // namespace gp
