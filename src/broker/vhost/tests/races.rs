//! Threads that declare, bind, delete and route the same names at once.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use super::*;
use crate::broker::test_rows::Rows;

const ROUNDS: usize = 300;

#[test]
fn nothing_is_left_of_what_was_deleted() {
    let vhost = VHost::new("/");
    thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                for n in 0..ROUNDS {
                    let name = ["q", "p"][n % 2];
                    let _ = vhost.queue_declare(queue(name), ME).unwrap();
                    let _ = vhost.exchange_declare(ExchangeDeclare { auto_delete: true, ..exchange("x", "topic") });
                    let _ = vhost.queue_bind(name, "x", b"k.#", none(), ME);
                    let _ = vhost.queue_bind(name, "amq.fanout", b"", none(), ME);
                    let _ = vhost.exchange_bind("amq.fanout", "x", b"#", none());
                    let _ = vhost.queue_unbind(name, "x", b"k.#", none(), ME);
                    vhost.queue_delete(name, false, false, ME).unwrap();
                }
            });
        }
        scope.spawn(|| {
            for _ in 0..ROUNDS {
                if let Some(exchange) = vhost.find_exchange("x") {
                    vhost.route(&exchange, &[b"k"], &mut || None);
                }
                vhost.exchange_delete("x", false).unwrap();
            }
        });
    });
    for name in ["q", "p"] {
        vhost.queue_delete(name, false, false, ME).unwrap();
    }
    vhost.exchange_delete("x", false).unwrap();
    assert!(vhost.queues().is_empty() && vhost.queues.is_empty());
    assert!(vhost.exchanges().iter().all(|exchange| exchange.binding_count() == 0));
    assert!(vhost.operation().destinations.is_empty());
}

/// The log has what happened in the order in which it happened, whichever thread did it: no row is deleted that is not
/// there, and none comes after the end of what it defines.
#[test]
fn no_row_is_left_of_what_was_deleted() {
    let mut rows = Rows::new();
    let vhost = VHost::build("/".into(), Some(rows.store.clone()), Arc::default());
    let done = AtomicBool::new(false);
    let durable = || ExchangeDeclare { durable: true, auto_delete: true, ..exchange("x", "topic") };
    thread::scope(|scope| {
        // Finds the queue as soon as there is one, and kills it at once; whoever declares the next one removes it.
        scope.spawn(|| {
            while !done.load(Ordering::Acquire) {
                if let Some(queue) = vhost.find_queue("q") {
                    queue.kill(false, false).unwrap();
                }
            }
        });
        let declaring = [(); 2].map(|()| {
            scope.spawn(|| {
                for n in 0..20 * ROUNDS {
                    let _ = vhost.queue_declare(QueueDeclare { durable: true, ..queue("q") }, ME).unwrap();
                    if n % 8 == 0 {
                        let _ = vhost.exchange_declare(durable());
                        let _ = vhost.queue_bind("q", "x", b"k.#", none(), ME);
                        let _ = vhost.exchange_bind("x", "amq.fanout", b"#", none());
                        let _ = vhost.queue_unbind("q", "x", b"k.#", none(), ME);
                    }
                }
            })
        });
        declaring.into_iter().for_each(|thread| thread.join().unwrap());
        done.store(true, Ordering::Release);
    });
    let _ = vhost.find_queue("q").map(|queue| queue.kill(false, false));
    vhost.queue_declare(queue("q"), ME).unwrap();
    vhost.exchange_delete("x", false).unwrap();
    rows.take();
    assert!(rows.rows.is_empty(), "{:?}", rows.rows);
}

/// A route that a publisher keeps must not outlive the binding that it came from.
#[test]
fn kept_routes_notice_every_change() {
    let vhost = VHost::new("/");
    vhost.queue_declare(queue("q"), ME).unwrap();
    let exchange = vhost.find_exchange("amq.topic").unwrap();
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        let publisher = scope.spawn(|| {
            let mut kept = vhost.route(&exchange, &[b"k"], &mut || None);
            while !done.load(Ordering::Acquire) {
                if !kept.is_current() {
                    kept = vhost.route(&exchange, &[b"k"], &mut || None);
                }
            }
            kept
        });
        for n in 0..ROUNDS {
            vhost.queue_bind("q", "amq.topic", b"#", none(), ME).unwrap();
            if n + 1 < ROUNDS {
                vhost.queue_unbind("q", "amq.topic", b"#", none(), ME).unwrap();
            }
        }
        done.store(true, Ordering::Release);
        let kept = publisher.join().unwrap();
        assert!(!kept.is_current() || kept.queues.len() == 1);
    });
}

/// Whoever finds the last consumer gone kills the queue; another declares the name at that moment.
#[test]
fn the_name_of_a_dying_queue_is_free_at_once() {
    let vhost = VHost::new("/");
    thread::scope(|scope| {
        scope.spawn(|| {
            for _ in 0..ROUNDS {
                if let Some(queue) = vhost.find_queue("q")
                    && queue.kill(false, false).unwrap().is_some()
                {
                    thread::yield_now();
                    vhost.remove_queue(&queue);
                }
            }
        });
        for _ in 0..ROUNDS {
            let declared = vhost.queue_declare(queue("q"), ME).unwrap();
            let bound = vhost.queue_bind("q", "amq.fanout", b"", none(), ME);
            assert!(bound.is_ok() || declared.is_dead());
        }
    });
    vhost.queue_delete("q", false, false, ME).unwrap();
    assert_eq!(vhost.find_exchange("amq.fanout").unwrap().binding_count(), 0);
}
