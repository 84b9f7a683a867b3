//! A depth-first search through every order in which the steps of a scenario can happen.
//!
//! Futures cannot be copied, so every order is run from the start. A state that was seen before is
//! not explored again: two orders continue in the same ways if they lead to the same store, the
//! same row, the same runs under way and requests that have seen the same.

use std::collections::HashSet;
use std::time::Duration;

use tokio::runtime::Builder;
use tokio::time::sleep;

use super::world::{HANDLER_STEPS, Scenario, World};
use crate::engine::clock;
use crate::store::gate::{Fate, hash};
use crate::store::interleaved::number_nonces;

/// A pause longer than that between two lookups of a waiting request, and much shorter than a
/// lease.
const QUIET: Duration = Duration::from_millis(10);

/// The result of a search.
#[derive(Debug, Default)]
pub(crate) struct Searched {
    pub(crate) orders: usize,
    pub(crate) states: usize,
    /// The violation of the first order that broke the invariant, with its steps.
    pub(crate) violation: Option<String>,
}

/// Runs every order, until one breaks the invariant.
pub(crate) fn search(scenario: &Scenario) -> Searched {
    let (mut searched, mut seen) = (Searched::default(), HashSet::new());
    let mut choices = Vec::new();
    loop {
        let order = run(scenario, &choices, &mut seen);
        searched.orders += 1;
        searched.states = seen.len();
        if let Some(violation) = order.violation {
            searched.violation = Some(format!("{violation}\n{}", order.steps.join("\n")));
            return searched;
        }
        let mut taken = order.taken;
        while taken
            .last()
            .is_some_and(|(choice, options)| choice + 1 == *options)
        {
            taken.pop();
        }
        let Some((last, _)) = taken.last_mut() else {
            return searched;
        };
        *last += 1;
        choices = taken.into_iter().map(|(choice, _)| choice).collect();
    }
}

#[derive(Default)]
struct Order {
    /// The choices, each with the number of its options.
    taken: Vec<(usize, usize)>,
    steps: Vec<String>,
    violation: Option<String>,
}

/// An event that can happen next.
#[derive(Clone, Debug)]
enum Event {
    Step(usize, Fate),
    Leave(usize),
    Lose(Vec<u8>),
    /// The next push reaches the connection of a near cache.
    Push(usize),
}

fn run(scenario: &Scenario, choices: &[usize], seen: &mut HashSet<u64>) -> Order {
    number_nonces();
    clock::stop();
    fastrand::seed(1);
    let runtime = Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .unwrap();
    // The registry numbers the spans, which identify the request of each step.
    let spans = tracing::Dispatch::new(tracing_subscriber::registry());
    tracing::dispatcher::with_default(&spans, || {
        runtime.block_on(Run::new(scenario).await_end(choices, seen))
    })
}

struct Run<'a> {
    scenario: &'a Scenario,
    world: World,
    order: Order,
    leaves: usize,
    losses: usize,
    failures: usize,
}

impl<'a> Run<'a> {
    fn new(scenario: &'a Scenario) -> Self {
        Self {
            scenario,
            world: World::new(scenario),
            order: Order::default(),
            leaves: scenario.leaves,
            losses: scenario.losses,
            failures: scenario.failures,
        }
    }

    async fn await_end(mut self, choices: &[usize], seen: &mut HashSet<u64>) -> Order {
        self.world.attend_near_caches();
        self.let_all_through().await;
        for _ in 0..self.scenario.first_reads() {
            self.world.send(0, self.scenario.reads());
            self.let_all_through().await;
        }
        if self.scenario.copied {
            for process in &self.scenario.near_caches {
                self.world.send(*process, self.scenario.reads());
                self.let_all_through().await;
            }
        }
        let first = self.world.clients.len();
        for (process, action) in &self.scenario.requests {
            self.world.send(*process, *action);
        }
        loop {
            sleep(QUIET).await;
            let mut events = self.events(first);
            if events.is_empty() {
                // Some requests wait longer before they retry, or wait for ever.
                sleep(40 * QUIET).await;
                events = self.events(first);
            }
            if events.is_empty() {
                break;
            }
            let depth = self.order.taken.len();
            let choice = match choices.get(depth) {
                Some(choice) => *choice,
                None if seen.insert(self.state()) => 0,
                None => return self.order,
            };
            self.order.taken.push((choice, events.len()));
            self.happen(&events[choice], first);
        }
        self.end().await
    }

    /// Returns a hash of everything that later steps depend on.
    fn state(&self) -> u64 {
        hash(&(hash(&self.world), self.leaves, self.losses, self.failures))
    }

    fn events(&self, first: usize) -> Vec<Event> {
        let waiting = self.world.gate.waiting();
        let mut events: Vec<_> = (0..waiting.len())
            .map(|position| Event::Step(position, Fate::Happens))
            .collect();
        if let Some(tracking) = &self.world.tracking {
            events.extend(tracking.pushed_to().into_iter().map(Event::Push));
        }
        if events.is_empty() {
            return events;
        }
        if self.failures > 0 {
            let commands = waiting.iter().enumerate();
            let commands = commands.filter(|(_, (_, step))| !HANDLER_STEPS.contains(step));
            events.extend(commands.flat_map(|(position, _)| {
                [Fate::Fails, Fate::ReplyIsLost].map(|fate| Event::Step(position, fate))
            }));
        }
        if self.leaves > 0 {
            let clients = self.world.clients.iter().enumerate().skip(first);
            let there = clients.filter(|(_, client)| !client.is_finished());
            events.extend(there.map(|(number, _)| Event::Leave(number)));
        }
        if self.losses > 0 {
            events.extend(self.world.names().into_iter().map(Event::Lose));
        }
        events
    }

    fn happen(&mut self, event: &Event, first: usize) {
        match event {
            Event::Step(position, fate) => {
                let (actor, command) = self.world.gate.waiting()[*position];
                self.order
                    .steps
                    .push(format!("{actor}: {command} {fate:?}"));
                self.failures -= usize::from(*fate != Fate::Happens);
                self.world.gate.let_through(*position, *fate);
            }
            Event::Leave(number) => {
                self.order
                    .steps
                    .push(format!("{} leaves", number - first + 1));
                self.leaves -= 1;
                self.world.clients[*number].abort();
            }
            Event::Push(number) => {
                self.order.steps.push(format!("a push reaches {number}"));
                self.world.tracking.as_ref().unwrap().deliver(*number);
            }
            Event::Lose(name) => {
                let name_text = String::from_utf8_lossy(name);
                self.order.steps.push(format!("{name_text} is lost"));
                self.losses -= 1;
                self.world.lose(name);
            }
        }
    }

    async fn let_all_through(&self) {
        loop {
            sleep(QUIET).await;
            if !self.world.gate.waiting().is_empty() {
                self.world.gate.let_through(0, Fate::Happens);
                continue;
            }
            let tracking = self.world.tracking.as_ref();
            match tracking.and_then(|tracking| tracking.pushed_to().into_iter().next()) {
                Some(number) => self.world.tracking.as_ref().unwrap().deliver(number),
                None => return,
            }
        }
    }

    async fn end(mut self) -> Order {
        if self
            .world
            .clients
            .iter()
            .any(|client| !client.is_finished())
        {
            self.world.violate("a request waits for ever".to_owned());
        }
        self.world.expect_the_last_write();
        let processes = self.scenario.requests.iter().map(|(process, _)| *process);
        for process in 0..=processes.max().unwrap_or(0) {
            self.world.send(process, self.scenario.reads());
            self.let_all_through().await;
        }
        self.order.violation = self.world.violations().into_iter().next();
        self.order
    }
}
