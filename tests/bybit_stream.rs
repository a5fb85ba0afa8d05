//! The private and the public stream against scripted servers on loopback.

use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, unbounded};
use recompra::bybit::public::{MarketSignal, PublicStream};
use recompra::bybit::{Address, Credentials, ExchangeClock, PrivateStream, StreamHandle, StreamTimings, Tls};
use recompra::core::Timestamp;
use recompra::engine::ports::{AdjustableClock, Signal, StreamEvent};
use tungstenite::{Message, WebSocket};

type Peer = WebSocket<TcpStream>;

const PATIENCE: Duration = Duration::from_secs(10);
const DONE: &str = r#"{"success":true,"ret_msg":"","op":"OP","conn_id":"x"}"#;
const ORDER: &str = r#"{"topic":"order","data":[{"category":"spot","symbol":"BTCUSDT","orderId":"17","side":"Buy",
    "orderLinkId":"btc-1-1b-1","orderType":"Limit","orderStatus":"New","price":"100","qty":"1","cumExecQty":"0",
    "cumExecValue":"0","timeInForce":"GTC","createdTime":"1700000000000","updatedTime":"1700000000000"}]}"#;

fn timings() -> StreamTimings {
    StreamTimings {
        answer: PATIENCE,
        ping_every: Duration::from_millis(80),
        pong_within: PATIENCE,
        first_pause: Duration::from_millis(2),
        longest_pause: Duration::from_millis(10),
        ..StreamTimings::default()
    }
}

/// The time in which so many pings are sent.
fn ping_rounds(number: u32) -> Duration {
    timings().ping_every * number
}

/// A server that runs `each` for every connection, in one thread.
fn server(mut each: impl FnMut(usize, Peer) + Send + 'static) -> Address {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = Address::stream(&format!("ws://{}/v5/private", listener.local_addr().unwrap())).unwrap();
    std::thread::spawn(move || {
        for (number, stream) in listener.incoming().enumerate() {
            if let Ok(peer) = tungstenite::accept(stream.unwrap()) {
                each(number, peer);
            }
        }
    });
    address
}

/// The stream signs nothing before the clock is set.
fn set_clock() -> ExchangeClock {
    let clock = ExchangeClock::starting_at(Timestamp(1_700_000_000_000), Arc::default());
    clock.correct(0);
    clock
}

fn start(address: Address, timings: StreamTimings) -> (StreamHandle, Receiver<Signal>) {
    let (sender, receiver) = unbounded();
    let stream = PrivateStream {
        address,
        tls: Tls::none(),
        credentials: Credentials::new("KEY", "SECRET").unwrap(),
        clock: Arc::new(set_clock()),
        symbol: "BTCUSDT".to_owned(),
        timings,
    };
    (stream.spawn(sender).unwrap(), receiver)
}

fn next(signals: &Receiver<Signal>) -> Signal {
    signals.recv_timeout(PATIENCE).expect("a signal in time")
}

/// The next request that is no ping; pings are answered.
fn request(peer: &mut Peer) -> Option<serde_json::Value> {
    loop {
        let Ok(Message::Text(text)) = peer.read() else { return None };
        let json: serde_json::Value = serde_json::from_str(&text).unwrap();
        if json["op"] != "ping" {
            return Some(json);
        }
        peer.send(Message::text(r#"{"op":"pong"}"#)).ok()?;
    }
}

/// Answers `auth` and `subscribe` as Bybit does; returns the arguments of both.
fn welcome(peer: &mut Peer) -> Vec<serde_json::Value> {
    ["auth", "subscribe"]
        .into_iter()
        .map_while(|op| {
            let request = request(peer)?;
            assert_eq!(request["op"], op);
            peer.send(Message::text(DONE.replace("OP", op))).ok()?;
            Some(request["args"].clone())
        })
        .collect()
}

/// Answers pings until the client goes.
fn stay(peer: &mut Peer) {
    while request(peer).is_some() {}
}

#[test]
fn each_push_is_one_frame_doubled_foreign_and_garbage_ones_too() {
    let (seen, args) = mpsc::channel();
    let address = server(move |_, mut peer| {
        seen.send(welcome(&mut peer)).unwrap();
        let foreign = ORDER.replace("BTCUSDT", "ETHUSDT");
        for text in [ORDER, ORDER, &foreign, r#"{"topic":"wallet","data":[]}"#, "garbage{", r#"{"topic":"execution"}"#]
        {
            peer.send(Message::text(text)).unwrap();
        }
        stay(&mut peer);
    });
    let (handle, signals) = start(address, timings());
    assert_eq!(next(&signals), Signal::StreamUp);
    for _ in 0..2 {
        let Signal::Frame(events) = next(&signals) else { panic!("no frame") };
        assert!(matches!(&events[..], [StreamEvent::Order(report)] if report.order_id == "17"));
    }
    assert_eq!(next(&signals), Signal::Frame(vec![]));
    // What cannot be read is never dropped in silence: the engine is made to ask.
    assert!(matches!(next(&signals), Signal::StreamDown(_)));
    assert_eq!(next(&signals), Signal::StreamUp);
    assert_eq!(next(&signals), Signal::Frame(vec![]));
    assert!(matches!(next(&signals), Signal::StreamDown(_)));
    assert_eq!(next(&signals), Signal::StreamUp);
    let args = args.recv().unwrap();
    assert_eq!(args[0][0], "KEY");
    let expires = args[0][1].as_i64().unwrap();
    assert!((1_700_000_010_000..1_700_000_020_000).contains(&expires), "{expires}");
    assert_eq!(args[0][2].as_str().unwrap().len(), 64);
    assert_eq!(args[1], serde_json::json!(["order", "execution"]));
    handle.join();
}

#[test]
fn a_push_that_overtakes_the_answer_to_subscribe_follows_the_stream_s_rise() {
    let address = server(|_, mut peer| {
        request(&mut peer);
        peer.send(Message::text(DONE.replace("OP", "auth"))).unwrap();
        request(&mut peer);
        peer.send(Message::text(ORDER)).unwrap();
        peer.send(Message::text(DONE.replace("OP", "subscribe"))).unwrap();
        stay(&mut peer);
    });
    let (handle, signals) = start(address, timings());
    assert_eq!(next(&signals), Signal::StreamUp);
    assert!(matches!(next(&signals), Signal::Frame(events) if events.len() == 1));
    handle.join();
}

#[test]
fn without_an_answer_to_auth_or_subscribe_it_connects_anew() {
    let address = server(|number, mut peer| {
        match number {
            0 => {}
            1 => {
                request(&mut peer);
                peer.send(Message::text(DONE.replace("OP", "auth"))).unwrap();
            }
            _ => drop(welcome(&mut peer)),
        }
        stay(&mut peer);
    });
    let impatient = StreamTimings { answer: Duration::from_millis(150), ..timings() };
    let (handle, signals) = start(address, impatient);
    // Two attempts fail, but it is one outage.
    assert!(matches!(next(&signals), Signal::StreamDown(reason) if reason.contains("auth was not answered")));
    assert_eq!(next(&signals), Signal::StreamUp);
    handle.join();
}

#[test]
fn a_refused_key_is_told_each_time_and_tried_again_after_a_long_pause() {
    for refusal in [
        r#"{"success":false,"ret_msg":"API key is invalid.","op":"auth","conn_id":"x"}"#,
        r#"{"retCode":10003,"retMsg":"no","op":"auth"}"#,
        r#"{"retCode":33004,"retMsg":"expired"}"#,
    ] {
        let address = server(move |number, mut peer| {
            if number == 0 {
                request(&mut peer);
                peer.send(Message::text(refusal)).unwrap();
            } else {
                welcome(&mut peer);
            }
            stay(&mut peer);
        });
        let pause = Duration::from_millis(300);
        let (handle, signals) = start(address, StreamTimings { refused_pause: pause, ..timings() });
        assert!(matches!(next(&signals), Signal::StreamRefused(_)), "{refusal}");
        assert!(matches!(next(&signals), Signal::StreamDown(_)), "{refusal}");
        let told = Instant::now();
        assert_eq!(next(&signals), Signal::StreamUp);
        assert!(told.elapsed() > pause / 2, "it came back after {:?}", told.elapsed());
        handle.join();
    }
}

#[test]
fn an_auth_that_fails_for_another_reason_is_tried_again() {
    let address = server(|number, mut peer| {
        if number == 0 {
            request(&mut peer);
            peer.send(Message::text(r#"{"retCode":10016,"retMsg":"busy","op":"auth"}"#)).unwrap();
        } else {
            welcome(&mut peer);
        }
        stay(&mut peer);
    });
    let (handle, signals) = start(address, timings());
    assert!(matches!(next(&signals), Signal::StreamDown(reason) if reason.contains("10016 busy")));
    assert_eq!(next(&signals), Signal::StreamUp);
    handle.join();
}

#[test]
fn a_mute_server_is_dead_after_an_unanswered_ping_and_a_new_connection_is_made() {
    let (hold, _held) = mpsc::channel();
    let address = server(move |number, mut peer| {
        welcome(&mut peer);
        if number == 0 {
            // TCP stays open, nothing is read or answered any more.
            hold.send(peer).unwrap();
        } else {
            stay(&mut peer);
        }
    });
    let impatient = StreamTimings { pong_within: Duration::from_millis(150), ..timings() };
    let (handle, signals) = start(address, impatient);
    assert_eq!(next(&signals), Signal::StreamUp);
    assert!(matches!(next(&signals), Signal::StreamDown(reason) if reason.contains("sign of life")));
    assert_eq!(next(&signals), Signal::StreamUp);
    handle.join();
}

#[test]
fn any_frame_is_a_sign_of_life_and_pings_keep_coming() {
    let (seen, pings) = mpsc::channel();
    let address = server(move |_, mut peer| {
        welcome(&mut peer);
        while let Ok(Message::Text(text)) = peer.read() {
            assert_eq!(text.as_str(), r#"{"op":"ping"}"#);
            if seen.send(()).is_err() || peer.send(Message::text(r#"{"topic":"wallet","data":[]}"#)).is_err() {
                return;
            }
        }
    });
    let lively = StreamTimings { pong_within: ping_rounds(5), ..timings() };
    let (handle, signals) = start(address, lively);
    assert_eq!(next(&signals), Signal::StreamUp);
    for _ in 0..10 {
        pings.recv_timeout(PATIENCE).unwrap();
    }
    assert!(signals.try_recv().is_err(), "ten pings take longer than a silence may last");
    handle.join();
}

#[test]
fn a_closed_connection_is_replaced_and_each_outage_is_told_once() {
    let address = server(|number, mut peer| {
        welcome(&mut peer);
        match number {
            0 => drop(peer.close(None)),
            1 => drop(peer),
            _ => stay(&mut peer),
        }
    });
    let (handle, signals) = start(address, timings());
    for _ in 0..2 {
        assert_eq!(next(&signals), Signal::StreamUp);
        assert!(matches!(next(&signals), Signal::StreamDown(_)));
    }
    assert_eq!(next(&signals), Signal::StreamUp);
    handle.join();
}

#[test]
fn a_stop_ends_a_blocked_read_and_a_long_pause() {
    let address = server(|_, mut peer| {
        welcome(&mut peer);
        stay(&mut peer);
    });
    let slow = StreamTimings { ping_every: Duration::from_secs(600), ..timings() };
    let (handle, signals) = start(address, slow);
    assert_eq!(next(&signals), Signal::StreamUp);
    let begun = Instant::now();
    handle.join();
    assert!(begun.elapsed() < Duration::from_secs(2));
    assert!(signals.try_recv().is_err(), "a stop is no outage");

    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let long = Duration::from_secs(600);
    let slow = StreamTimings { first_pause: long, longest_pause: long, ..timings() };
    let (handle, signals) = start(Address::stream(&format!("ws://{free}/v5/private")).unwrap(), slow);
    assert!(matches!(next(&signals), Signal::StreamDown(_)));
    let begun = Instant::now();
    handle.join();
    assert!(begun.elapsed() < Duration::from_secs(2));
}

#[test]
fn the_thread_ends_when_nobody_listens() {
    let address = server(|_, mut peer| {
        welcome(&mut peer);
        while peer.send(Message::text(ORDER)).is_ok() {
            std::thread::sleep(Duration::from_millis(1));
        }
    });
    let (handle, signals) = start(address, timings());
    assert_eq!(next(&signals), Signal::StreamUp);
    drop(signals);
    let begun = Instant::now();
    while !handle.is_finished() {
        assert!(begun.elapsed() < PATIENCE);
        std::thread::yield_now();
    }
}

#[test]
fn a_forbidden_upgrade_is_left_in_peace() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = Address::stream(&format!("ws://{}/v5/private", listener.local_addr().unwrap())).unwrap();
    let (seen, attempts) = mpsc::channel();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            use std::io::{Read, Write};
            let mut stream = stream.unwrap();
            let _ = stream.read(&mut [0; 4096]);
            let _ = stream.write_all(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n");
            seen.send(()).unwrap();
        }
    });
    let (handle, signals) = start(address, timings());
    assert!(matches!(next(&signals), Signal::StreamDown(reason) if reason.contains("403")));
    attempts.recv().unwrap();
    assert!(attempts.recv_timeout(Duration::from_millis(60)).is_err(), "it must not ask again at once");
    handle.join();
}

#[test]
fn the_public_stream_subscribes_three_topics_quotes_and_reconnects() {
    let (seen, args) = mpsc::channel();
    let (pinged, pings) = mpsc::channel();
    let address = server(move |number, mut peer| {
        seen.send(request(&mut peer).unwrap()["args"].clone()).unwrap();
        peer.send(Message::text(DONE.replace("OP", "subscribe"))).unwrap();
        for text in [
            r#"{"topic":"tickers.BTCUSDT","ts":1,"data":{"lastPrice":"100"}}"#,
            r#"{"topic":"orderbook.1.BTCUSDT","ts":2,"data":{"b":[["99","1"]],"a":[["101","1"]]}}"#,
            r#"{"topic":"publicTrade.BTCUSDT","ts":3,"data":[{"T":3,"p":"100.5"}]}"#,
        ] {
            peer.send(Message::text(text)).unwrap();
        }
        if number > 0 {
            // Its pong differs from the private stream's.
            while let Ok(Message::Text(_)) = peer.read() {
                let pong = Message::text(r#"{"success":true,"ret_msg":"pong","op":"ping"}"#);
                if pinged.send(()).is_err() || peer.send(pong).is_err() {
                    return;
                }
            }
        }
    });
    let lively = StreamTimings { pong_within: ping_rounds(5), ..timings() };
    let (sender, signals) = unbounded();
    let stream = PublicStream { address, tls: Tls::none(), symbol: "BTCUSDT".to_owned(), timings: lively };
    let handle = stream.spawn(sender).unwrap();
    for connection in 0..2 {
        assert_eq!(signals.recv_timeout(PATIENCE).unwrap(), MarketSignal::Up, "connection {connection}");
        for (time, last) in [(2, "100"), (3, "100.5")] {
            let MarketSignal::Quote(quote) = signals.recv_timeout(PATIENCE).unwrap() else { panic!("no quote") };
            assert_eq!((quote.time, quote.last.to_string().as_str()), (Timestamp(time), last));
        }
        if connection == 0 {
            assert!(matches!(signals.recv_timeout(PATIENCE).unwrap(), MarketSignal::Down(_)));
        }
    }
    assert_eq!(
        args.recv().unwrap(),
        serde_json::json!(["tickers.BTCUSDT", "publicTrade.BTCUSDT", "orderbook.1.BTCUSDT"])
    );
    for _ in 0..10 {
        pings.recv_timeout(PATIENCE).unwrap();
    }
    assert!(signals.try_recv().is_err(), "its pong is a sign of life");
    handle.join();
}
