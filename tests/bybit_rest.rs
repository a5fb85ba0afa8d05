//! REST over real sockets on loopback: what is classified as sent, unknown and answered, whatever the server does.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;
use std::sync::{Arc, Barrier};
use std::time::{Duration, Instant};

use recompra::bybit::transport::{HttpLimits, HttpTransport};
use recompra::bybit::{Address, Tls};
use recompra::http::{Method, Request, Sent, Transport, TransportError};

const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 13\r\nX-Bapi-Limit-Status: 19\r\n\r\n{\"retCode\":0}";

/// A server that runs `each` for every connection, in one thread.
fn server(mut each: impl FnMut(usize, TcpStream) + Send + 'static) -> Address {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = Address::rest(&format!("http://{}", listener.local_addr().unwrap())).unwrap();
    std::thread::spawn(move || {
        for (number, stream) in listener.incoming().enumerate() {
            each(number, stream.unwrap());
        }
    });
    address
}

/// What one `read` brings; empty when the client has closed.
fn one_read(stream: &mut TcpStream) -> String {
    let mut buffer = vec![0; 64 * 1024];
    let amount = stream.read(&mut buffer).unwrap_or(0);
    String::from_utf8(buffer[..amount].to_vec()).unwrap()
}

fn quick() -> HttpLimits {
    let (connect, whole, idle) = (Duration::from_secs(2), Duration::from_secs(5), Duration::from_secs(60));
    HttpLimits { connect, whole, idle, ..HttpLimits::default() }
}

fn transport(address: &Address) -> HttpTransport {
    HttpTransport::new(address, &Tls::none(), quick())
}

fn post() -> Request {
    Request {
        method: Method::Post,
        path: "/v5/order/create".to_owned(),
        query: String::new(),
        body: r#"{"qty":"1"}"#.to_owned(),
        headers: vec![("X-BAPI-SIGN", "abc".to_owned()), ("Content-Type", "application/json".to_owned())],
    }
}

fn get() -> Request {
    Request {
        method: Method::Get,
        path: "/v5/order/realtime".to_owned(),
        query: "category=spot&cursor=a%3A1".to_owned(),
        body: String::new(),
        headers: vec![],
    }
}

#[test]
fn a_request_leaves_in_one_write_as_it_was_signed_and_the_answer_comes_back_whole() {
    let (seen, requests) = mpsc::channel();
    let address = server(move |_, mut stream| {
        loop {
            let request = one_read(&mut stream);
            if request.is_empty() {
                break;
            }
            seen.send(request).unwrap();
            stream.write_all(ANSWER).unwrap();
        }
    });
    let mut transport = transport(&address);
    let answer = transport.send(&post()).unwrap();
    assert_eq!((answer.status, answer.body.as_slice()), (200, b"{\"retCode\":0}".as_slice()));
    assert_eq!(answer.header("x-bapi-LIMIT-status"), Some("19"));
    transport.send(&get()).unwrap();
    let sent = requests.recv().unwrap();
    assert!(
        sent.starts_with("POST /v5/order/create HTTP/1.1\r\n") && sent.ends_with("\r\n\r\n{\"qty\":\"1\"}"),
        "{sent}"
    );
    assert!(sent.to_ascii_lowercase().contains("\r\nx-bapi-sign: abc\r\n"), "{sent}");
    let sent = requests.recv().unwrap();
    assert!(sent.starts_with("GET /v5/order/realtime?category=spot&cursor=a%3A1 HTTP/1.1\r\n"), "{sent}");
    assert!(!sent.to_ascii_lowercase().contains("content-length"), "a GET must carry no body: {sent}");
}

#[test]
fn several_requests_use_one_connection() {
    let connections = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&connections);
    let address = server(move |_, mut stream| {
        count.fetch_add(1, Ordering::SeqCst);
        while !one_read(&mut stream).is_empty() {
            stream.write_all(ANSWER).unwrap();
        }
    });
    let mut transport = transport(&address);
    for _ in 0..5 {
        transport.send(&post()).unwrap();
    }
    assert_eq!(connections.load(Ordering::SeqCst), 1);
}

/// Answers each connection in a thread of its own, once `together` requests are there.
fn patient_server(together: usize) -> (Address, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = Address::rest(&format!("http://{}", listener.local_addr().unwrap())).unwrap();
    let connections = Arc::new(AtomicUsize::new(0));
    let (count, all_there) = (Arc::clone(&connections), Arc::new(Barrier::new(together)));
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            count.fetch_add(1, Ordering::SeqCst);
            let (mut stream, all_there) = (stream.unwrap(), Arc::clone(&all_there));
            std::thread::spawn(move || {
                while !one_read(&mut stream).is_empty() {
                    all_there.wait();
                    stream.write_all(ANSWER).unwrap();
                }
            });
        }
    });
    (address, connections)
}

/// What became of each, in the order in which it was known.
fn together(transport: &mut HttpTransport, requests: &[Request]) -> Vec<(usize, Sent)> {
    let mut outcomes = Vec::new();
    transport.send_together(requests, &mut |place, outcome| outcomes.push((place, outcome)));
    outcomes
}

#[test]
fn what_leaves_together_is_under_way_together() {
    let (address, connections) = patient_server(8);
    let mut transport = transport(&address);
    for _ in 0..2 {
        let outcomes = together(&mut transport, &[(); 8].map(|()| post()));
        assert!(outcomes.len() == 8 && outcomes.iter().all(|(_, outcome)| outcome.is_ok()), "{outcomes:?}");
    }
    assert_eq!(connections.load(Ordering::SeqCst), 8, "the second time the connections were still open");
}

#[test]
fn with_one_at_once_requests_follow_each_other_on_one_connection() {
    let (address, connections) = patient_server(1);
    let mut transport = HttpTransport::new(&address, &Tls::none(), HttpLimits { at_once: 1, ..quick() });
    let outcomes = together(&mut transport, &[get(), post()]);
    assert!(outcomes.iter().map(|(place, _)| *place).eq([0, 1]), "{outcomes:?}");
    assert_eq!(connections.load(Ordering::SeqCst), 1);
}

#[test]
fn each_outcome_is_known_when_it_arrives() {
    let (answered, others) = mpsc::channel();
    let address = server(move |_, mut stream| {
        let (answered, late) = (answered.clone(), one_read(&mut stream).starts_with("GET"));
        std::thread::spawn(move || {
            if late {
                std::thread::sleep(Duration::from_millis(300));
            }
            stream.write_all(ANSWER).unwrap();
            answered.send(()).unwrap();
        });
    });
    let mut known = Vec::new();
    let began = Instant::now();
    transport(&address).send_together(&[get(), post(), post()], &mut |place, _| known.push((place, began.elapsed())));
    assert_eq!(others.iter().take(3).count(), 3);
    assert_eq!(known[2].0, 0, "{known:?}");
    assert!(known[1].1 < known[2].1.saturating_sub(Duration::from_millis(100)), "{known:?}");
}

#[test]
fn a_refused_connection_is_surely_not_sent() {
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let address = Address::rest(&format!("http://{free}")).unwrap();
    let error = transport(&address).send(&post()).unwrap_err();
    assert!(matches!(&error, TransportError::NotSent(reason) if reason.contains("127.0.0.1")), "{error}");
}

#[test]
fn a_server_that_closes_after_reading_leaves_the_outcome_unknown_and_is_not_asked_twice() {
    let (seen, requests) = mpsc::channel();
    let address = server(move |_, mut stream| seen.send(one_read(&mut stream)).unwrap());
    let error = transport(&address).send(&post()).unwrap_err();
    assert!(matches!(error, TransportError::Unknown(_)), "{error}");
    assert!(requests.recv().unwrap().starts_with("POST"));
    assert!(requests.recv_timeout(Duration::from_millis(50)).is_err(), "the POST was sent twice");
}

#[test]
fn a_kept_connection_that_the_server_closed_is_replaced_before_it_is_used() {
    let (seen, requests) = mpsc::channel();
    let (closed, is_closed) = mpsc::channel();
    let address = server(move |_, mut stream| {
        seen.send(one_read(&mut stream)).unwrap();
        stream.write_all(ANSWER).unwrap();
        drop(stream);
        closed.send(()).unwrap();
    });
    let mut transport = transport(&address);
    for _ in 0..3 {
        transport.send(&post()).unwrap();
        is_closed.recv().unwrap();
    }
    assert_eq!(requests.try_iter().count(), 3);
}

#[test]
fn a_kept_connection_that_closes_under_a_post_is_unknown_and_never_doubles_it() {
    let (seen, requests) = mpsc::channel();
    let address = server(move |_, mut stream| {
        seen.send(one_read(&mut stream)).unwrap();
        stream.write_all(ANSWER).unwrap();
        seen.send(one_read(&mut stream)).unwrap();
    });
    let mut transport = transport(&address);
    transport.send(&post()).unwrap();
    assert!(matches!(transport.send(&post()), Err(TransportError::Unknown(_))));
    assert_eq!(requests.iter().take(2).filter(|request| request.starts_with("POST")).count(), 2);
    assert!(requests.recv_timeout(Duration::from_millis(50)).is_err(), "the POST was sent twice");
}

#[test]
fn a_mute_server_is_unknown_when_the_time_is_over() {
    let (hold, _held) = mpsc::channel();
    let address = server(move |_, mut stream| {
        one_read(&mut stream);
        let _ = hold.send(stream);
    });
    let timings = HttpLimits { whole: Duration::from_millis(150), ..quick() };
    let start = Instant::now();
    let error = HttpTransport::new(&address, &Tls::none(), timings).send(&post()).unwrap_err();
    assert!(matches!(&error, TransportError::Unknown(reason) if reason.contains("in time")), "{error}");
    assert!(start.elapsed() < Duration::from_secs(4));
}

#[test]
fn a_server_that_trickles_is_cut_off_too() {
    let address = server(move |_, mut stream| {
        one_read(&mut stream);
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n");
        while stream.write_all(b"x").is_ok() {
            std::thread::sleep(Duration::from_millis(5));
        }
    });
    let timings = HttpLimits { whole: Duration::from_millis(150), ..quick() };
    let start = Instant::now();
    let error = HttpTransport::new(&address, &Tls::none(), timings).send(&post()).unwrap_err();
    assert!(matches!(error, TransportError::Unknown(_)), "{error}");
    assert!(start.elapsed() < Duration::from_secs(4));
}

#[test]
fn a_server_that_never_shakes_hands_is_surely_not_sent() {
    let (hold, _held) = mpsc::channel();
    let plain = server(move |_, stream| drop(hold.send(stream)));
    let address = Address::rest(&format!("https://127.0.0.1:{}", plain.port())).unwrap();
    let timings = HttpLimits { connect: Duration::from_millis(150), ..quick() };
    let tls = Tls::build(None).unwrap();
    let error = HttpTransport::new(&address, &tls, timings).send(&post()).unwrap_err();
    assert!(matches!(&error, TransportError::NotSent(reason) if reason.contains("handshake")), "{error}");
    let error = HttpTransport::new(&address, &Tls::none(), timings).send(&post()).unwrap_err();
    assert!(matches!(&error, TransportError::NotSent(reason) if reason.contains("not set up")), "{error}");
}

#[test]
fn answers_that_are_cut_short_broken_or_too_large_are_unknown() {
    let large = [b"HTTP/1.1 200 OK\r\nContent-Length: 5000000\r\n\r\n".as_slice(), &vec![b' '; 5_000_000]].concat();
    for answer in [
        b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{\"retCode\"".to_vec(),
        b"HTTP/1.1 200 OK\r\nContent-Le".to_vec(),
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n{\"re".to_vec(),
        b"garbage\r\n\r\n".to_vec(),
        large,
    ] {
        let shown = String::from_utf8_lossy(&answer[..answer.len().min(60)]).into_owned();
        let address = server(move |_, mut stream| {
            one_read(&mut stream);
            let _ = stream.write_all(&answer);
        });
        let result = transport(&address).send(&post());
        assert!(matches!(result, Err(TransportError::Unknown(_))), "{shown}: {result:?}");
    }
}

#[test]
fn error_statuses_redirects_and_chunks_are_answers() {
    for (answer, status, body) in [
        ("HTTP/1.1 403 Forbidden\r\nContent-Length: 6\r\n\r\n<html>", 403, "<html>"),
        ("HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n", 502, ""),
        ("HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n", 302, ""),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n", 200, "{}"),
        ("HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n{}", 200, "{}"),
    ] {
        let address = server(move |_, mut stream| {
            one_read(&mut stream);
            let _ = stream.write_all(answer.as_bytes());
        });
        let response = transport(&address).send(&post()).unwrap();
        assert_eq!((response.status, String::from_utf8(response.body).unwrap()), (status, body.to_owned()));
    }
}
