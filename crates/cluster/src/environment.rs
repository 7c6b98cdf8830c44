//! What makes two runs differ besides their input: chance. Time is `tokio::time`, which a test pauses.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

/// The source of chance of one daemon.
#[derive(Debug)]
pub struct Environment {
    random: Mutex<StdRng>,
}

impl Environment {
    /// Chance from the operating system.
    pub fn system() -> Environment {
        Environment { random: Mutex::new(StdRng::from_os_rng()) }
    }

    /// The same chance in every run.
    pub fn seeded(seed: u64) -> Environment {
        Environment { random: Mutex::new(StdRng::seed_from_u64(seed)) }
    }

    /// 128 random bits as 32 hexadecimal digits.
    pub fn token(&self) -> String {
        format!("{:032x}", self.draw(|random| random.random::<u128>()))
    }

    /// A duration between nothing and `most`.
    pub fn up_to(&self, most: Duration) -> Duration {
        most.mul_f64(self.draw(|random| random.random::<f64>()))
    }

    /// Sleeps for a random time of at most `most`.
    pub async fn pause_up_to(&self, most: Duration) {
        tokio::time::sleep(self.up_to(most)).await;
    }

    fn draw<T>(&self, draw: impl FnOnce(&mut StdRng) -> T) -> T {
        draw(&mut self.random.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
