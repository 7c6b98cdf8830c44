//! Stories with one point each.

mod corruption;
mod crashes;
mod identity;
mod isolation;
mod large;
mod leaders;
mod life;
mod outages;
