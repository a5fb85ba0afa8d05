//! Carries REST requests over TCP and TLS: one request is one blocking call.
//!
//! Goes in: signed requests. Comes out: the answers, or whether a request surely never left. The HTTP library keeps
//! connections open between requests in its own pool, and opens new ones through `connector`. What leaves
//! together goes out as blocking calls too, each on a thread that lives as long as its call.
//!
//! What can go wrong: no connection can be opened, which is known for certain ([`TransportError::NotSent`]); or there is no
//! answer, which leaves the outcome unknown. The library never repeats a request by itself. It looks at a kept connection
//! before it uses it; if the peer closes it just then, the outcome is unknown, as for any other lost answer.

use std::time::Duration;

use crossbeam_channel::unbounded;
use ureq::{Agent, Error, http};

use super::address::Address;
use super::connector::{NoLookup, NotConnected, OneHost};
use super::tls::Tls;
use crate::http::{Method, Request, Response, Sent, Transport, TransportError};

/// The largest answer that is read, in bytes.
const LARGEST_ANSWER: u64 = 4 * 1024 * 1024;
const LARGEST_HEAD: usize = 16 * 1024;
const INPUT_BUFFER: usize = 32 * 1024;
const OUTPUT_BUFFER: usize = 8 * 1024;

/// What a transport keeps to.
#[derive(Clone, Copy, Debug)]
pub struct HttpLimits {
    /// For name, TCP and TLS together.
    pub connect: Duration,
    /// For everything from the name to the last byte of the answer.
    pub whole: Duration,
    /// A connection that was idle for longer is not used again.
    pub idle: Duration,
    /// So many requests are on their way at one time, and so many connections are kept. With one, requests arrive in the
    /// order in which they were sent.
    pub at_once: usize,
}

impl Default for HttpLimits {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(5),
            whole: Duration::from_secs(10),
            // Routers on the way forget silent connections without telling either end.
            idle: Duration::from_secs(120),
            // Bybit takes 20 creates and cancels a second from an account.
            at_once: 8,
        }
    }
}

/// The real [`Transport`].
pub struct HttpTransport {
    agent: Agent,
    base: String,
    at_once: usize,
}

impl HttpTransport {
    /// A transport to one host.
    pub fn new(address: &Address, tls: &Tls, limits: HttpLimits) -> Self {
        let config = ureq::config::Config::builder()
            .timeout_global(Some(limits.whole))
            .timeout_connect(Some(limits.connect))
            .max_idle_age(limits.idle)
            .max_idle_connections(limits.at_once)
            .max_idle_connections_per_host(limits.at_once)
            .http_status_as_error(false)
            .max_redirects(0)
            .max_redirects_will_error(false)
            .proxy(None)
            .max_response_header_size(LARGEST_HEAD)
            .input_buffer_size(INPUT_BUFFER)
            .output_buffer_size(OUTPUT_BUFFER)
            .user_agent(concat!("recompra/", env!("CARGO_PKG_VERSION")))
            .build();
        let connector = OneHost { address: address.clone(), tls: tls.clone() };
        Self {
            agent: Agent::with_parts(config, connector, NoLookup),
            base: address.to_string(),
            at_once: limits.at_once.max(1),
        }
    }

    fn carry(&self, request: &Request) -> Sent {
        let question = if request.query.is_empty() { "" } else { "?" };
        let mut head =
            http::Request::builder().uri(format!("{}{}{question}{}", self.base, request.path, request.query));
        for (name, value) in &request.headers {
            head = head.header(*name, value);
        }
        let answer = match request.method {
            Method::Get => self.agent.run(head.method("GET").body(()).map_err(unwritable)?),
            Method::Post => self.agent.run(head.method("POST").body(request.body.as_str()).map_err(unwritable)?),
        };
        answer.and_then(read).map_err(|error| match error {
            Error::Other(reason) if reason.is::<NotConnected>() => TransportError::NotSent(reason.to_string()),
            Error::Timeout(_) => TransportError::Unknown("no answer in time".to_owned()),
            other => TransportError::Unknown(other.to_string()),
        })
    }
}

/// A request that is no HTTP never left.
fn unwritable(error: http::Error) -> TransportError {
    TransportError::NotSent(format!("the request cannot be written: {error}"))
}

fn read(mut answer: http::Response<ureq::Body>) -> Result<Response, Error> {
    let headers = answer
        .headers()
        .iter()
        .map(|(name, value)| (name.to_string(), String::from_utf8_lossy(value.as_bytes()).into_owned()))
        .collect();
    let status = answer.status().as_u16();
    let body = answer.body_mut().with_config().limit(LARGEST_ANSWER).read_to_vec()?;
    Ok(Response { status, headers, body })
}

impl Transport for HttpTransport {
    fn send(&mut self, request: &Request) -> Sent {
        self.carry(request)
    }

    fn send_together(&mut self, requests: &[Request], arrived: &mut dyn FnMut(usize, Sent)) {
        let this = &*self;
        let calls: Vec<(usize, &Request)> = requests.iter().enumerate().collect();
        for calls in calls.chunks(this.at_once) {
            if let [(place, request)] = calls {
                arrived(*place, this.carry(request));
                continue;
            }
            std::thread::scope(|scope| {
                let (sender, outcomes) = unbounded();
                for (place, request) in calls {
                    let sender = sender.clone();
                    // The receiver lives until all threads have ended: there is always somebody to tell.
                    let call = move || drop(sender.send((*place, this.carry(request))));
                    let thread = std::thread::Builder::new().name("request".to_owned());
                    if let Err(error) = thread.spawn_scoped(scope, call) {
                        log::debug!("no thread for a request, it is carried here: {error}");
                        arrived(*place, this.carry(request));
                    }
                }
                drop(sender);
                outcomes.iter().for_each(|(place, outcome)| arrived(place, outcome));
            });
        }
    }
}
