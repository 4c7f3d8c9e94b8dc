//! One suite for all stores, and what only the file can do.

mod bench;
mod budgets;
mod conformance;
mod constraints;
mod ends;
mod file;
mod flows;
mod full;
mod io_error;
mod kept;
mod life;
mod lanes;
mod lists;
mod reads;
mod repeats;
mod rows;
mod sent;
mod standing;
mod speed;
mod upgrade;
mod views;
mod warm;
