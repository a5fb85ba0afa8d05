//! Why the exchange refuses a request, in Bybit's codes.

/// An error of the API: Bybit's `retCode` and `retMsg`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ApiError {
    /// `retCode`.
    pub code: i64,
    /// `retMsg`.
    pub message: String,
}

/// A parameter is missing or malformed.
pub const PARAMETER: i64 = 10001;
/// The request's timestamp is outside the window.
pub const TIMESTAMP: i64 = 10002;
/// The key is unknown.
pub const KEY: i64 = 10003;
/// The signature is wrong.
pub const SIGNATURE: i64 = 10004;
/// The key may not do this.
pub const PERMISSION: i64 = 10005;
/// Too many requests.
pub const RATE_LIMIT: i64 = 10006;
/// No such path, or not with this method.
pub const ROUTE: i64 = 10017;
/// The demo environment does not have this.
pub const NOT_ON_DEMO: i64 = 10032;
/// The time in force is unknown.
pub const TIME_IN_FORCE: i64 = 170_115;
/// The order type is unknown.
pub const ORDER_TYPE: i64 = 170_116;
/// The side is unknown.
pub const SIDE: i64 = 170_117;
/// The symbol is unknown.
pub const SYMBOL: i64 = 170_121;
/// The quantity or the amount is too large for one order.
pub const TOO_LARGE: i64 = 170_124;
/// A parameter of the order has a value that is not valid.
pub const INVALID: i64 = 170_130;
/// The balance does not suffice.
pub const BALANCE: i64 = 170_131;
/// The price is no multiple of the tick size.
pub const TICK_SIZE: i64 = 170_134;
/// The quantity is below what one order must have.
pub const TOO_SMALL: i64 = 170_136;
/// The quantity is no multiple of the step.
pub const QUANTITY_STEP: i64 = 170_137;
/// The notional is below the least.
pub const MIN_NOTIONAL: i64 = 170_140;
/// There was an order of this `orderLinkId` before.
pub const DUPLICATE: i64 = 170_141;
/// The amount of a quote-sized market order is no multiple of its step.
pub const AMOUNT_STEP: i64 = 170_148;
/// The instrument is not traded now.
pub const NOT_TRADING: i64 = 170_157;
/// A buy's limit price is too far above the market.
pub const BUY_PRICE_LIMIT: i64 = 170_193;
/// A sell's limit price is too far below the market.
pub const SELL_PRICE_LIMIT: i64 = 170_194;
/// There is no such open order.
pub const NOT_OPEN: i64 = 170_213;
/// The account has as many open orders as it may.
pub const TOO_MANY_OPEN: i64 = 170_810;

impl ApiError {
    /// An error of this code.
    pub fn new(code: i64, message: impl Into<String>) -> Self {
        Self { code, message: message.into() }
    }

    /// A parameter that is missing or malformed.
    pub fn parameter(message: impl Into<String>) -> Self {
        Self::new(PARAMETER, message)
    }

    /// The balance does not suffice.
    pub(super) fn insufficient_balance() -> Self {
        Self::new(BALANCE, "Insufficient balance.")
    }

    /// There is no such open order.
    pub(super) fn not_open() -> Self {
        Self::new(NOT_OPEN, "Order does not exist.")
    }

    /// There is no such symbol.
    pub(super) fn unknown_symbol(symbol: &str) -> Self {
        Self::new(SYMBOL, format!("Invalid symbol: {symbol:?}."))
    }
}
