use super::*;

fn address(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn throttle() -> Throttle {
    Throttle::new(ThrottleOptions::default())
}

fn fail(throttle: &Throttle, name: &str, from: &str) -> Result<(), Locked> {
    throttle.begin(name, address(from)).map(Attempt::failed)
}

fn succeed(throttle: &Throttle, name: &str, from: &str) -> Result<(), Locked> {
    throttle.begin(name, address(from)).map(Attempt::succeeded)
}

/// Fails as often as it may for so long; answers how often that was.
async fn guess(throttle: &Throttle, name: &str, from: &str, time: Duration) -> u32 {
    let begin = Instant::now();
    let mut count = 0;
    while begin.elapsed() < time {
        match fail(throttle, name, from) {
            Ok(()) => count += 1,
            Err(Locked { wait }) => tokio::time::advance(wait).await,
        }
    }
    count
}

const HOUR: Duration = Duration::from_secs(3600);

#[tokio::test(start_paused = true)]
async fn the_right_password_is_no_way_in_while_it_is_locked() {
    let throttle = throttle();
    for _ in 0..5 {
        fail(&throttle, "ann", "192.0.2.7").unwrap();
    }
    let locked = succeed(&throttle, "ann", "192.0.2.7").unwrap_err();
    assert_eq!(locked.wait, Duration::from_secs(1));
    assert_eq!(locked.to_string(), "too many sign-ins have failed: try again in 1 s");
    tokio::time::advance(locked.wait).await;
    succeed(&throttle, "ann", "192.0.2.7").unwrap();
    // That clears it.
    for _ in 0..5 {
        fail(&throttle, "ann", "192.0.2.7").unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn a_day_of_guessing_is_a_hundred_guesses() {
    let throttle = throttle();
    let count = guess(&throttle, "ann", "192.0.2.7", 24 * HOUR).await;
    assert!((90..=125).contains(&count), "{count}");
}

#[tokio::test(start_paused = true)]
async fn one_password_on_many_names_is_stopped_too() {
    let throttle = throttle();
    let tried = (0..1000).take_while(|number| fail(&throttle, &number.to_string(), "192.0.2.7").is_ok());
    assert_eq!(tried.count(), 30);
    // Neighbours in the network of one subscriber count as one, others do not.
    assert!(fail(&throttle, "ann", "192.0.2.8").is_ok());
    for number in 0..30 {
        fail(&throttle, &number.to_string(), &format!("2001:db8::{number}")).unwrap();
    }
    assert!(fail(&throttle, "ann", "2001:db8::ffff").is_err());
    assert!(fail(&throttle, "ann", "2001:db8:0:1::1").is_ok());
    assert!(fail(&throttle, "ann", "::ffff:192.0.2.7").is_err());
}

#[tokio::test(start_paused = true)]
async fn an_own_account_is_no_way_to_go_on() {
    let throttle = throttle();
    let mut failed = 0;
    for number in 0..100 {
        if succeed(&throttle, "mallory", "192.0.2.7").is_err() {
            break;
        }
        failed += u32::from(fail(&throttle, &format!("victim-{number}"), "192.0.2.7").is_ok());
    }
    assert_eq!(failed, 30);
}

#[tokio::test(start_paused = true)]
async fn guessing_from_everywhere_is_slow_and_does_not_lock_out_the_owner() {
    let throttle = throttle();
    succeed(&throttle, "admin", "198.51.100.1").unwrap();
    let begin = Instant::now();
    let mut guesses = 0;
    // Each guess from another address.
    for number in 0_u32.. {
        if begin.elapsed() >= 24 * HOUR {
            break;
        }
        let from = Ipv6Addr::from_bits((0x2001_0db8_u128 << 96) | (u128::from(number) << 64));
        match throttle.begin("admin", from.into()) {
            Ok(attempt) => {
                attempt.failed();
                guesses += 1;
            }
            Err(Locked { wait }) => {
                assert!(wait <= Duration::from_secs(60));
                // Who has signed in from there before still can; so can who sits at the machine.
                succeed(&throttle, "admin", "198.51.100.1").unwrap();
                succeed(&throttle, "admin", "127.0.0.1").unwrap();
                tokio::time::advance(wait).await;
            }
        }
    }
    assert!((1400..1600).contains(&guesses), "{guesses}");
}

#[tokio::test(start_paused = true)]
async fn nobody_locks_somebody_out_from_another_address() {
    let throttle = throttle();
    succeed(&throttle, "admin", "198.51.100.1").unwrap();
    for from in ["192.0.2.7", "192.0.2.8"] {
        guess(&throttle, "admin", from, HOUR).await;
        assert!(fail(&throttle, "admin", from).is_err() || fail(&throttle, "admin", from).is_err());
    }
    succeed(&throttle, "admin", "198.51.100.1").unwrap();
    // And an address that is blocked blocks no other.
    succeed(&throttle, "ann", "198.51.100.2").unwrap();
}

#[tokio::test(start_paused = true)]
async fn scripts_that_sign_in_at_the_same_time_are_not_in_each_others_way() {
    let throttle = throttle();
    let attempts: Vec<Attempt<'_>> =
        (0..100).map(|_| throttle.begin("script", address("192.0.2.7")).unwrap()).collect();
    attempts.into_iter().for_each(Attempt::succeeded);
    // After a failure no more of them go at a time than may fail.
    fail(&throttle, "script", "192.0.2.7").unwrap();
    let first: Vec<_> = (0..4).map(|_| throttle.begin("script", address("192.0.2.7")).unwrap()).collect();
    assert!(throttle.begin("script", address("192.0.2.7")).is_err());
    drop(first);
    succeed(&throttle, "script", "192.0.2.7").unwrap();
}

#[tokio::test(start_paused = true)]
async fn what_is_known_of_a_name_is_bounded() {
    let throttle = Throttle::new(ThrottleOptions { most: 3, ..ThrottleOptions::default() });
    for name in ["a", "b", "c", "d", "e"] {
        for last in 0..40 {
            succeed(&throttle, name, &format!("192.0.2.{last}")).unwrap();
        }
    }
    let counted = throttle.counted();
    assert_eq!(counted.known.len(), 3);
    assert!(counted.known.values().all(|known| known.len() == KNOWN_ADDRESSES));
    assert!(counted.knows("e", address("192.0.2.39")) && !counted.knows("e", address("192.0.2.0")));
}
