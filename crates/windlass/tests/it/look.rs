//! Looking at the file of a house while its gateway is at work.

use std::time::Duration;

use machine::check::World;
use machine::rows::{Run, Task};
use store::{Reader, Reads};

use crate::house::House;

/// Every row, as of now.
pub async fn world(house: &House) -> World {
    Reader::open(&house.database()).unwrap().snapshot().await.unwrap()
}

/// Waits until the rows are as `holds` says, and returns them.
pub async fn until(house: &House, what: &str, holds: impl Fn(&World) -> bool) -> World {
    let mut last = Vec::new();
    for _ in 0..3_000 {
        let world = world(house).await;
        if holds(&world) {
            return world;
        }
        last = world.runs.iter().map(line).collect();
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("it never came to this: {what}\n{}\n{}", last.join("\n"), house.log());
}

fn line(run: &Run) -> String {
    format!("{} is {:?}, slot {:?}", run.session_key, run.phase, run.slot)
}

/// The task of a name.
///
/// # Panics
///
/// If there is none, or more than one.
pub fn task_of<'a>(world: &'a World, name: &str) -> &'a Task {
    let named = world.tasks.iter().filter(|task| task.task_name.as_deref() == Some(name));
    let found: Vec<&Task> = named.collect();
    assert_eq!(found.len(), 1, "tasks that are called {name}");
    found[0]
}

/// The run that carries the task of a name, if that has begun.
pub fn run_of<'a>(world: &'a World, name: &str) -> Option<&'a Run> {
    let task = world.tasks.iter().find(|task| task.task_name.as_deref() == Some(name))?;
    world.runs.iter().find(|run| run.id == task.run)
}
