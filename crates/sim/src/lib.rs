//! Thousands of lives of a gateway, from seeds: nothing lost, nothing doubled, nothing stuck.
//!
//! A seed fixes a life: what people write and stop, what models say, how long everything takes,
//! and what goes wrong. Processes are lost before a commit, after it, between answer and action,
//! and at any time between; results come late, twice, and in any order; models fail; gateways are
//! drained. Then all is calm, the life comes to rest, and the promises are looked at.
//!
//! ```text
//!  plan ──▶ world ──▶ disk (machine::apply) ──▶ answers, actions ──▶ flight
//!             ▲                                                        │
//!             └──────────────── events, late and twice ◀───────────────┘
//!                     truth: as it happens    rest: at the end
//! ```
//!
//! Reading order: [`plan`], [`fault`], [`script`], [`world`], [`flight`], then what is checked:
//! `machine::check` after commits, [`truth`] and [`rest`].
//!
//! # Why it keeps its rows itself
//!
//! [`disk`] is a transaction that undoes nothing: a panic of the machine, or a row that a
//! database would refuse, fails the seed, also in an event that another has raised. The stores
//! roll such an event back and go on. It can also cut a commit after any raised event, as a
//! clustered store will. That the stores that ship do the same with the same events is a test:
//! `tests/it/stores.rs` lives the lives again in `store::Memory` and `store::Sqlite`.
//!
//! # Seen to fail
//!
//! The machine was broken on purpose, one line at a time. `first` is the first seed that fails,
//! from 0; `share` is how many of all seeds do. All are found within the thousand seeds of CI but
//! the last, which needs a stop and two crashes in the right order: `tests/it/stop.rs` has it.
//!
//! | broken on purpose                                | first | share |
//! |--------------------------------------------------|------:|------:|
//! | no next run is opened when one ends              |     0 |  55 % |
//! | a result of a closed step is taken               |     0 |  51 % |
//! | a waiting run keeps its slot                     |     0 |  74 % |
//! | a retry has no timer                             |     0 |  65 % |
//! | the timer of a yield that is over stays          |     0 |  37 % |
//! | a repeated key is a new message                  |     0 |  43 % |
//! | inputs enter between a call and its result       |     0 |  90 % |
//! | the usage of a cut call is not summed            |     0 |  85 % |
//! | the announce is left out                         |     1 |  83 % |
//! | a child that ends does not count its waiter down |     1 |  69 % |
//! | a wait that is counted down wakes nobody         |     1 |  67 % |
//! | open calls get no result when a run ends         |     1 |  75 % |
//! | opaque tools are started again                   |     1 |  36 % |
//! | a model call that was cut is not closed          |     1 |  64 % |
//! | a start takes nothing over                       |     1 |  63 % |
//! | a draining gateway calls models                  |     1 |  29 % |
//! | a draining gateway admits                        |     1 |  28 % |
//! | a lane has a slot too many                       |     1 |  53 % |
//! | a stop marks the children and goes no further    |     1 |  42 % |
//! | what is done with is deleted at once             |     1 |  83 % |
//! | an announce wakes nobody                         |     2 |  46 % |
//! | a spawn may close a circle                       |     2 |  10 % |
//! | a node of a flow is started while it runs        |     2 |  54 % |
//! | a run that ends admits nobody                    |     2 |  28 % |
//! | what open runs have taken in is deleted          |     4 |  42 % |
//! | a deadline ends nothing                          |     6 |  45 % |
//! | results for another origin are waited for        |     6 |   6 % |
//! | a child ends while children of its own are open  |    11 |  33 % |
//! | a message does not end a wait                    |    14 |   7 % |
//! | a message from before the wait does not end it   |    14 |   2 % |
//! | results of a life that is over are taken         |    14 |   6 % |
//! | a stop leaves what waits in the inbox            |    18 |   4 % |
//! | the ancestors' stops are not looked up           |    29 | 0.2 % |
//! | a conversation hears what the last one asked for |    31 |   2 % |
//! | calls of an answer after a stop get no result    |    36 |   7 % |
//! | `waited_by` is kept when a wait is over          |   151 | 0.1 % |
//! | a child ends while results lie unread            |   207 | 1.6 % |
//! | own rows are taken in by any run                 |   326 | 0.3 % |
//! | a start does not go on with a cut cascade        |   746 | 0.2 % |
//! | tools go on below a stop after a crash           |   --- |   --- |
//!
//! The first seed and the share are those of the day on which the fault was planted: what is added
//! to plan and script gives seeds other lives.
//!
//! One change is never seen, since it changes nothing: rows that were meant for a run which ended
//! before it began need no release, for only a stop ends such a run, and it cancels them first.

pub mod rng;
pub mod fault;
pub mod plan;
pub mod order;
pub mod allowed;
pub mod coverage;
pub mod disk;
pub mod commit;
pub mod replies;
pub mod script;
pub mod truth;
pub mod world;
pub mod change;
mod flight;
pub mod rest;
pub mod life;
pub mod meta;
pub mod seeds;

pub use life::{Failure, Lived, live};
pub use plan::Plan;
pub use world::Sim;
