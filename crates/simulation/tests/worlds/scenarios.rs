//! Stories with one point each.

mod corruption;
mod crashes;
mod identity;
mod isolation;
mod leaders;
mod life;
mod outages;
