//! Threads that run one at a time, in an order that a seed decides.
//!
//! [`Schedule::run`] starts tasks as threads and lets one of them go at a time. Whoever goes runs until its next
//! operation on the simulated disk, or until it calls [`Schedule::yield_now`]; then the dice say who is next. So the
//! interleavings that matter to files are tried one by one, and a seed that fails can be run again.
//!
//! A task may wait for a lock that a task which does not have its turn holds. The schedule sees that it sleeps and lets
//! another one go; where the system does not tell, a task that is silent for a while counts as waiting.
//!
//! What is not decided by the seed: when a lock is released, its waiter wakes up and runs beside the one whose turn it
//! is, until either comes to its next operation. What both do meanwhile with memory they share is up to the machine.
//! Threads that a task starts by itself are not scheduled.

mod sleep;

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::thread::{self, ThreadId};
use std::time::Duration;

use parking_lot::{Condvar, Mutex, MutexGuard};

use crate::dice::Dice;
use crate::sim::{SimFs, Turns};
use sleep::Sleeper;

/// How long to wait before looking whether a task sleeps.
const LOOK: Duration = Duration::from_micros(100);
/// How often to look in vain before all tasks are taken to wait for each other.
const PATIENCE: u32 = 100_000;

/// How the next task is chosen.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Policy {
    /// By the dice, every time anew.
    Random,
    /// One after the other.
    RoundRobin,
    /// The one with the highest priority, which falls to the lowest at so many moments (Burckhardt, Kothari, Musuvathi,
    /// Nagarakatte, "A Randomized Scheduler with Probabilistic Guarantees of Finding Bugs", ASPLOS 2010).
    Priorities(u32),
}

/// Where priorities start; those that fell are below.
const PRIORITIES: u64 = 1 << 63;
/// Turns within which priorities change.
const PRIORITY_TURNS: u64 = 400;

/// Runs tasks one at a time. Clones are the same schedule.
#[derive(Clone)]
pub struct Schedule {
    shared: Arc<Shared>,
}

/// Work for a task.
pub type Work<'a> = Box<dyn FnOnce() + Send + 'a>;

struct Shared {
    state: Mutex<State>,
    changed: Condvar,
    policy: Policy,
}

struct State {
    dice: Dice,
    tasks: Vec<Task>,
    by_thread: HashMap<ThreadId, usize>,
    /// Whose turn it is.
    turn: Option<usize>,
    /// Turns so far, and a hash of who had them.
    turns: u64,
    order: u64,
    /// The lowest priority so far.
    lowest: u64,
}

struct Task {
    status: Status,
    sleeper: Option<Sleeper>,
    priority: u64,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Status {
    /// Its thread has not reported yet.
    Unborn,
    /// Waits for its turn.
    Ready,
    /// Runs: it has the turn, or has just been woken.
    Running,
    /// Sleeps outside of the schedule: it waits for a lock.
    Blocked,
    Done,
}

impl Schedule {
    /// A schedule that `seed` and `policy` decide.
    pub fn new(seed: u64, policy: Policy) -> Self {
        let state = State {
            dice: Dice::new(seed),
            tasks: Vec::new(),
            by_thread: HashMap::new(),
            turn: None,
            turns: 0,
            order: 0,
            lowest: PRIORITIES,
        };
        Self { shared: Arc::new(Shared { state: Mutex::new(state), changed: Condvar::new(), policy }) }
    }

    /// Runs the tasks to their end, switching between them at their operations on `fs`. Events are labelled with the
    /// name of the task.
    ///
    /// # Panics
    /// When a task does, and when all tasks wait for each other.
    pub fn run(&self, fs: &SimFs, tasks: Vec<(&str, Work<'_>)>) {
        {
            let mut state = self.shared.state.lock();
            let task = |_| Task { status: Status::Unborn, sleeper: None, priority: 0 };
            state.tasks = (0..tasks.len()).map(task).collect();
            for number in 0..tasks.len() {
                let priority = state.dice.roll() | PRIORITIES;
                state.task(number).priority = priority;
            }
        }
        fs.set_turns(Some(self.shared.clone()));
        thread::scope(|scope| {
            for (number, (name, work)) in tasks.into_iter().enumerate() {
                let shared = &self.shared;
                scope.spawn(move || {
                    let _end = End { shared, number };
                    shared.begin(number);
                    let _label = fs.label(name);
                    work();
                });
            }
            self.shared.conduct();
        });
        fs.set_turns(None);
    }

    /// Lets the dice say who goes on; where priorities decide, the caller's becomes the lowest, so that nobody waits for
    /// ever for a task that only looks again and again. Returns at once on a thread that is no task.
    pub fn yield_now(&self) {
        let mut state = self.shared.state.lock();
        if let Some(&number) = state.by_thread.get(&thread::current().id()) {
            state.give_way(number);
        }
        drop(state);
        self.shared.take_turn();
    }

    /// How many turns there were, and a number that stands for who had them.
    pub fn order(&self) -> (u64, u64) {
        let state = self.shared.state.lock();
        (state.turns, state.order)
    }
}

impl fmt::Debug for Schedule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Schedule").field("order", &self.order()).finish()
    }
}

/// Ends a task, whether its work returns or panics.
struct End<'a> {
    shared: &'a Shared,
    number: usize,
}

impl Drop for End<'_> {
    fn drop(&mut self) {
        let mut state = self.shared.state.lock();
        state.by_thread.remove(&thread::current().id());
        state.task(self.number).status = Status::Done;
        if state.turn == Some(self.number) {
            state.turn = None;
        }
        self.shared.changed.notify_all();
    }
}

impl State {
    #[expect(clippy::indexing_slicing, reason = "tasks are numbered by their place in the list")]
    fn task(&mut self, number: usize) -> &mut Task {
        &mut self.tasks[number]
    }

    fn with(&self, status: Status) -> Vec<usize> {
        let has = |(number, task): (usize, &Task)| (task.status == status).then_some(number);
        self.tasks.iter().enumerate().filter_map(has).collect()
    }

    /// Gives a task a lower priority than any other has.
    fn give_way(&mut self, number: usize) {
        self.lowest -= 1;
        self.task(number).priority = self.lowest;
    }

    /// Who goes next, of those who are ready; there is one.
    fn choose(&mut self, ready: &[usize], policy: Policy) -> usize {
        let first = ready.first().copied().unwrap_or_default();
        match policy {
            Policy::Random => ready.get(self.dice.index(ready.len())).copied().unwrap_or(first),
            Policy::RoundRobin => {
                let last = usize::try_from(self.order % 256).unwrap_or_default();
                ready.iter().copied().find(|&number| number > last).unwrap_or(first)
            }
            Policy::Priorities(changes) => {
                let highest = |state: &Self| {
                    let priority = |number: &&usize| state.tasks.get(**number).map(|task| task.priority);
                    ready.iter().max_by_key(priority).copied().unwrap_or(first)
                };
                let changes_now = changes > 0 && self.dice.one_in(PRIORITY_TURNS / u64::from(changes));
                if changes_now && self.turns < PRIORITY_TURNS {
                    let number = highest(self);
                    self.give_way(number);
                }
                highest(self)
            }
        }
    }
}

impl Shared {
    /// What a task does first.
    fn begin(&self, number: usize) {
        let mut state = self.state.lock();
        state.by_thread.insert(thread::current().id(), number);
        state.task(number).sleeper = Sleeper::current();
        self.wait_for_turn(state, number);
    }

    fn wait_for_turn(&self, mut state: MutexGuard<'_, State>, number: usize) {
        state.task(number).status = Status::Ready;
        if state.turn == Some(number) {
            state.turn = None;
        }
        self.changed.notify_all();
        while state.turn != Some(number) {
            self.changed.wait(&mut state);
        }
        state.task(number).status = Status::Running;
        self.changed.notify_all();
    }

    /// Gives turns until all tasks are done.
    fn conduct(&self) {
        let mut state = self.state.lock();
        let mut patience = PATIENCE;
        loop {
            self.settle(&mut state);
            let ready = state.with(Status::Ready);
            if !ready.is_empty() {
                patience = PATIENCE;
                let next = state.choose(&ready, self.policy);
                (state.turn, state.turns) = (Some(next), state.turns + 1);
                // The low byte is who had the last turn.
                let order = state.order.wrapping_mul(0x0000_0100_0000_01B3) ^ state.turns;
                state.order = (order << 8) | (next as u64 & 0xFF);
                self.changed.notify_all();
                // It is ready until it wakes up and takes the turn.
                while state.turn == Some(next) && state.task(next).status == Status::Ready {
                    self.changed.wait(&mut state);
                }
            } else if state.tasks.iter().all(|task| task.status == Status::Done) {
                return;
            } else {
                patience -= 1;
                assert!(patience > 0, "all tasks wait for each other");
                self.changed.wait_for(&mut state, LOOK);
            }
        }
    }

    /// Waits until every task is ready, done, or asleep over a lock.
    fn settle(&self, state: &mut MutexGuard<'_, State>) {
        // Asleep when looked at twice: a thread may just be on its way into the schedule.
        let mut asleep = vec![0_u32; state.tasks.len()];
        loop {
            let mut busy = !state.with(Status::Unborn).is_empty();
            for (number, asleep) in asleep.iter_mut().enumerate() {
                let task = state.task(number);
                if !matches!(task.status, Status::Running | Status::Blocked) {
                    *asleep = 0;
                    continue;
                }
                let sleeps = task.sleeper.as_ref().map_or(*asleep > 100, Sleeper::is_asleep);
                *asleep = if sleeps || task.sleeper.is_none() { *asleep + 1 } else { 0 };
                if sleeps && *asleep > 2 {
                    task.status = Status::Blocked;
                } else {
                    busy = true;
                }
            }
            if !busy {
                if let Some(turn) = state.turn
                    && state.task(turn).status == Status::Blocked
                {
                    state.turn = None;
                }
                return;
            }
            self.changed.wait_for(state, LOOK);
        }
    }
}

impl Turns for Shared {
    fn take_turn(&self) {
        let state = self.state.lock();
        if let Some(&number) = state.by_thread.get(&thread::current().id()) {
            self.wait_for_turn(state, number);
        }
    }
}
