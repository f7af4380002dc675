//! Between warm-up and end pinned cores make no system call, but the journal's core io_uring's and `sched_yield`: a test
//! binary of its own, for its own signal handler.
//!
//! The kernel can hand a thread's system calls to a signal handler while a byte in memory says so (syscall user dispatch,
//! since Linux 5.11, without privilege). The handler counts the call by its number and then makes it, from a range of code
//! that is exempt. Each thread switches this on for itself when it starts; who stands at the beginning and end of what is
//! watched sets the byte: a strategy for its book core, a source for the feed core, both for the journal's.

#![cfg(all(target_os = "linux", target_arch = "x86_64"))]
#![allow(unsafe_code)]

mod common;

use common::day::{generated, put, sample_bytes};
use common::journal::journal_in;
use common::trader::Gateway;
use core::arch::global_asm;
use std::cell::Cell;
use std::ops::ControlFlow;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};
use std::sync::{Mutex, Once};
use tempfile::tempdir;
use tickcore::ThreadHook;
use tickcore::book::{Capacity, Event, TimestampNs};
use tickcore::engine::{self, Config};
use tickcore::feed::batch::EventBatch;
use tickcore::feed::source::{Counts, Filled, ItchBytes, ItchOptions, Source, SourceError};
use tickcore::inputs::Inputs;
use tickcore::journal::Backend;
use tickcore::outputs::Intent;
use tickcore::pace::Pace;
use tickcore::shards::{Shard, ShardMap};
use tickcore::strategy::{Context, Strategy};
use tickcore::topology::{EngineThread, Role, Topology};
use tickcore_replay_data::sample;

const WARM_UP_EVENTS: u64 = 1_000;
/// Numbers of the places where threads count: feed, journal, then books.
const PLACES: usize = 8;
const FEED: usize = 0;
const JOURNAL: usize = 1;
const BOOKS: usize = 2;
const NUMBERS: usize = 512;

const ALLOW: u8 = 0;
const BLOCK: u8 = 1;

/// The byte of each place, which the kernel reads at each system call of its thread.
static SELECTORS: [AtomicU8; PLACES] = [const { AtomicU8::new(ALLOW) }; PLACES];
/// System calls of each place by number.
static CALLS: [[AtomicU64; NUMBERS]; PLACES] = [const { [const { AtomicU64::new(0) }; NUMBERS] }; PLACES];
/// Set when the kernel does not offer this.
static IS_UNAVAILABLE: AtomicBool = AtomicBool::new(false);
/// One engine at a time: places are shared.
static ENGINE: Mutex<()> = Mutex::new(());

thread_local! {
    /// Where this thread counts. `const` and without a destructor: fit for a signal handler.
    static PLACE: Cell<usize> = const { Cell::new(0) };
}

// The exempt range: the way back from the handler, and a system call whose number and arguments stand in memory.
global_asm!(
    ".globl tickcore_test_exempt_start",
    ".globl tickcore_test_restorer",
    ".globl tickcore_test_call",
    ".globl tickcore_test_exempt_end",
    "tickcore_test_exempt_start:",
    "tickcore_test_restorer:",
    "mov eax, 15",
    "syscall",
    "tickcore_test_call:",
    "mov rax, [rdi]",
    "mov rsi, [rdi + 16]",
    "mov rdx, [rdi + 24]",
    "mov r10, [rdi + 32]",
    "mov r8, [rdi + 40]",
    "mov r9, [rdi + 48]",
    "mov rdi, [rdi + 8]",
    "syscall",
    "ret",
    "tickcore_test_exempt_end:",
);

unsafe extern "C" {
    fn tickcore_test_exempt_start();
    fn tickcore_test_restorer();
    fn tickcore_test_call(number_and_arguments: *const i64) -> i64;
    fn tickcore_test_exempt_end();
}

/// As the kernel takes it: the C library would put its own way back in.
#[repr(C)]
struct KernelAction {
    handler: usize,
    flags: u64,
    restorer: usize,
    mask: u64,
}

const SA_RESTORER: u64 = 0x0400_0000;
const PR_SET_SYSCALL_USER_DISPATCH: i32 = 59;

extern "C" fn on_call(_: i32, _: *mut libc::siginfo_t, context: *mut libc::c_void) {
    // SAFETY: the kernel hands a handler with SA_SIGINFO a context that is its own for the time of the call.
    let registers = unsafe { &mut (*context.cast::<libc::ucontext_t>()).uc_mcontext.gregs };
    let [number, rdi, rsi, rdx, r10, r8, r9] =
        [libc::REG_RAX, libc::REG_RDI, libc::REG_RSI, libc::REG_RDX, libc::REG_R10, libc::REG_R8, libc::REG_R9]
            .map(|register| registers[register as usize]);
    let counter = usize::try_from(number).ok().and_then(|number| CALLS[PLACE.get()].get(number));
    counter.inspect(|counter| {
        counter.fetch_add(1, Ordering::Relaxed);
    });
    let call = [number, rdi, rsi, rdx, r10, r8, r9];
    // SAFETY: exactly the call that the thread was about to make, with its own arguments.
    registers[libc::REG_RAX as usize] = unsafe { tickcore_test_call(call.as_ptr()) };
}

fn install_handler() {
    static INSTALLED: Once = Once::new();
    INSTALLED.call_once(|| {
        let action = KernelAction {
            handler: on_call as extern "C" fn(_, _, _) as usize,
            flags: libc::SA_SIGINFO as u64 | libc::SA_NODEFER as u64 | SA_RESTORER,
            restorer: tickcore_test_restorer as unsafe extern "C" fn() as usize,
            mask: 0,
        };
        // SAFETY: the action is laid out as the kernel's, lives through the call, and its functions are fit for signals.
        let done = unsafe { libc::syscall(libc::SYS_rt_sigaction, libc::SIGSYS, &raw const action, 0_usize, 8_usize) };
        assert_eq!(done, 0, "a handler can be installed");
    });
}

/// Switches the dispatch on for the calling thread.
fn watch(thread: &EngineThread) {
    let place = match thread.role {
        Role::Feed => FEED,
        Role::Journal => JOURNAL,
        Role::Book => BOOKS + thread.shard as usize,
    };
    PLACE.set(place);
    let start = tickcore_test_exempt_start as unsafe extern "C" fn() as usize;
    let end = tickcore_test_exempt_end as unsafe extern "C" fn() as usize;
    // SAFETY: the byte is static, and the handler that the kernel will call is installed.
    let done =
        unsafe { libc::prctl(PR_SET_SYSCALL_USER_DISPATCH, 1_usize, start, end - start, SELECTORS[place].as_ptr()) };
    if done != 0 {
        IS_UNAVAILABLE.store(true, Ordering::Relaxed);
    }
}

fn set(place: usize, selector: u8) {
    SELECTORS[place].store(selector, Ordering::Relaxed);
}

/// Arms its book core, and the first one the journal's, and does what it should not if it is told to.
struct Arming {
    shard: u32,
    events: u64,
    /// Intents that were sent, and that were refused by a full ring.
    intents: [u64; 2],
    breaks_rule: bool,
}

impl Strategy for Arming {
    fn on_event(&mut self, context: &mut Context<'_, '_>, _: &Event) {
        self.events += 1;
        let sent = context.send(&Intent::default());
        self.intents[usize::from(sent.is_err())] += 1;
        if self.events == WARM_UP_EVENTS {
            set(BOOKS + self.shard as usize, BLOCK);
            if self.shard == 0 {
                set(JOURNAL, BLOCK);
            }
        }
        if self.breaks_rule && self.events == 2 * WARM_UP_EVENTS {
            // SAFETY: a call without arguments or effect.
            unsafe { libc::syscall(libc::SYS_getppid) };
        }
    }

    fn on_end(&mut self, _: &mut Context<'_, '_>) {
        set(BOOKS + self.shard as usize, ALLOW);
    }
}

/// Arms the feed core, and at the end lets the journal's go.
struct ArmingSource<R> {
    source: R,
    breaks_rule: bool,
}

impl<R: Source> Source for ArmingSource<R> {
    fn fill(&mut self, batch: &mut EventBatch, max_messages: usize) -> Result<Filled, SourceError> {
        if self.source.counts().messages >= WARM_UP_EVENTS {
            set(FEED, BLOCK);
            if std::mem::take(&mut self.breaks_rule) {
                // SAFETY: a call without arguments or effect.
                unsafe { libc::syscall(libc::SYS_getppid) };
            }
        }
        let filled = self.source.fill(batch, max_messages);
        if matches!(filled, Ok(Filled::End)) {
            set(FEED, ALLOW);
            set(JOURNAL, ALLOW);
        }
        filled
    }

    fn next_time(&mut self) -> Result<Option<TimestampNs>, SourceError> {
        self.source.next_time()
    }

    fn counts(&self) -> &Counts {
        self.source.counts()
    }
}

/// What was called: place, number, how often.
type Called = Vec<(usize, i64, u64)>;

/// The calls of one run; `None` where the kernel does not offer to look.
fn calls(config: &Config, source: impl Source + Send, breaks_rule: Option<usize>) -> Option<Called> {
    let _alone = ENGINE.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    install_handler();
    CALLS.iter().flatten().for_each(|calls| calls.store(0, Ordering::Relaxed));
    // A reader that reads nothing: most intents are refused.
    let gateway = Gateway::default();
    let outputs = Some(gateway.config(4_096));
    let config = Config { on_thread_start: ThreadHook::new(watch), oversubscribe: true, outputs, ..config.clone() };
    let source = ArmingSource { source, breaks_rule: breaks_rule == Some(FEED) };
    let make = |shard: Shard| Arming {
        shard: shard.number,
        events: 0,
        intents: [0; 2],
        breaks_rule: breaks_rule == Some(BOOKS + shard.number as usize),
    };
    let outcome = engine::run_sharded(&config, source, make, |_| ControlFlow::Continue(())).unwrap();
    SELECTORS.iter().for_each(|selector| selector.store(ALLOW, Ordering::Relaxed));
    assert!(outcome.is_good(), "{:?}", outcome.end);
    assert!(
        outcome.strategy.iter().all(|strategy| strategy.events > 20 * WARM_UP_EVENTS),
        "too few events to say anything"
    );
    assert!(outcome.strategy.iter().all(|strategy| strategy.intents[0] == 4_096 && strategy.intents[1] > 4_096));
    if IS_UNAVAILABLE.load(Ordering::Relaxed) {
        eprintln!(
            "skipped: the kernel does not offer syscall user dispatch (it needs Linux 5.11, x86-64, and no filter)"
        );
        return None;
    }
    if let Some(journal) = &outcome.journal
        && !matches!(journal.backend, Backend::IoUring | Backend::IoUringFixed)
    {
        eprintln!("skipped: no io_uring here, so the journal's core writes as it can");
        return None;
    }
    let mut called = Vec::new();
    for (place, numbers) in (0..).zip(&CALLS) {
        let counts = (0..).zip(numbers).map(|(number, count)| (number, count.load(Ordering::Relaxed)));
        called.extend(counts.filter(|(_, count)| *count > 0).map(|(number, count)| (place, number, count)));
    }
    // Threads that were made to share cores give them away.
    let spinning = outcome.cores.iter().filter(|core| core.thread.role != Role::Journal).count();
    if tickcore::pin::allowed_cores().unwrap().len() < spinning {
        called.retain(|(place, number, _)| *number != libc::SYS_sched_yield || *place == JOURNAL);
    }
    Some(called)
}

fn config(topology: Topology, journal: Option<PathBuf>) -> Config {
    Config {
        topology,
        capacity: Capacity { instruments_max: 2_000, orders_max: 200_000, levels_max: 200_000 },
        keeps_digests: true,
        // Every stage of every event is stamped.
        latency_sample_interval: 1,
        shards: ShardMap::by_hash(if topology == Topology::Sharded { 2 } else { 1 }).unwrap(),
        stat_file: tickcore::stat::StatFile::Automatic,
        journal: journal.as_deref().map(journal_in),
        ..Config::default()
    }
}

const TOPOLOGIES: [Topology; 3] = [Topology::Inline, Topology::Pipelined, Topology::Sharded];

/// Without those that the journal's core may make: io_uring's, and giving way to the kernel's workers that it waits for.
fn forbidden(called: Called) -> Called {
    let is_allowed = |number| [libc::SYS_io_uring_enter, libc::SYS_sched_yield].contains(&number);
    called.into_iter().filter(|(place, number, _)| *place != JOURNAL || !is_allowed(*number)).collect()
}

#[test]
fn no_core_makes_a_system_call_but_the_journals() {
    let scratch = tempdir().unwrap();
    let day = generated(400_000, 500, 2);
    let plain = put(scratch.path(), "plain_01302020.itch", &sample_bytes());
    for topology in TOPOLOGIES {
        let directory = scratch.path().join(topology.name());
        for journal in [None, Some(directory.clone())] {
            let has_journal = journal.is_some();
            let source = ItchBytes::new(&day, &ItchOptions::default());
            let Some(called) = calls(&config(topology, journal), source, None) else { return };
            let entered = called.iter().any(|(place, ..)| *place == JOURNAL);
            assert_eq!(entered, has_journal, "the journal's core calls io_uring, and that is seen: {called:?}");
            assert_eq!(forbidden(called), [], "memory, {topology}, journaled {has_journal}");
        }
        // Segments that fill up and follow one another while events come.
        let mut rolling = config(topology, Some(directory.with_extension("rolling")));
        rolling.journal.iter_mut().for_each(|journal| journal.options.segment_bytes = 4 << 20);
        let source = ItchBytes::new(&day, &ItchOptions::default());
        let Some(called) = calls(&rolling, source, None) else { return };
        assert_eq!(forbidden(called), [], "segments of 4 MiB, {topology}");
        for input in [&plain, &sample::path(), &directory] {
            let source = Inputs::open(std::slice::from_ref(input), None).unwrap();
            let Some(called) = calls(&config(topology, None), source, None) else { return };
            assert_eq!(called, [], "{}, {topology}", input.display());
        }
        let paced = Config { pace: Pace::EventsPerSecond(1_000_000), ..config(topology, None) };
        let source = Inputs::open(&[sample::path()], None).unwrap();
        let Some(called) = calls(&paced, source, None) else { return };
        assert_eq!(called, [], "paced, {topology}");
    }
}

#[test]
fn a_core_that_breaks_the_rule_is_caught() {
    let day = generated(200_000, 500, 2);
    for topology in TOPOLOGIES {
        let places: &[usize] = match topology {
            // The one core has the source as well: what it calls is seen there.
            Topology::Inline => &[BOOKS],
            Topology::Pipelined => &[FEED, BOOKS],
            Topology::Sharded => &[FEED, BOOKS, BOOKS + 1],
        };
        for &place in places {
            let source = ItchBytes::new(&day, &ItchOptions::default());
            let Some(called) = calls(&config(topology, None), source, Some(place)) else { return };
            assert_eq!(called, [(place, libc::SYS_getppid, 1)], "{topology}");
        }
    }
}
