//! The ladder as the bot would place it, level by level: `recompra plan`.
//!
//! In: the base order's price, the parameters, the instrument and where the instrument came from. Out: the numbers that the
//! bot would place, because the same function computes both. Numbers of the table are rounded for reading, those of the
//! JSON never are. What can go wrong: a level breaks a rule of the exchange; the [`LadderError`] names both.

use std::fmt::Write as _;

use serde_json::{Value, json};

use crate::core::Decimal;
use crate::core::instrument::Instrument;
use crate::core::ladder::{self, LadderError, PlannedLevel};
use crate::core::money::text;
use crate::core::parameters::{Parameters, TakeProfitMode};

/// Where the instrument's filters came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// The exchange said so just now.
    Exchange,
    /// The exchange said so when the bot last asked.
    StateDirectory,
    /// Nobody said so: see [`assumed_instrument`].
    Assumed,
}

/// The ladder, ready to be shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sheet<'a> {
    /// The base order's assumed price, in quote coin.
    pub price: Decimal,
    /// What the user chose.
    pub parameters: &'a Parameters,
    /// What the exchange demands.
    pub instrument: &'a Instrument,
    /// Where those demands came from.
    pub origin: Origin,
    /// The base order first.
    pub levels: Vec<PlannedLevel>,
}

/// Filters for a plan without the exchange: tick 0.01, step 0.000001, at least 5 quote coin an order. They are
/// those of BTCUSDT when this was written; other symbols differ.
pub fn assumed_instrument(symbol: &str) -> Instrument {
    let quotes = ["USDT", "USDC", "USDE", "EUR", "BRL", "TRY", "PLN", "BTC", "ETH", "BRZ"];
    let quote = quotes.into_iter().find(|quote| symbol.len() > quote.len() && symbol.ends_with(quote));
    let (base_coin, quote_coin) =
        quote.and_then(|quote| symbol.strip_suffix(quote).zip(Some(quote))).unwrap_or(("base", "quote"));
    Instrument {
        symbol: symbol.to_owned(),
        base_coin: base_coin.to_owned(),
        quote_coin: quote_coin.to_owned(),
        tick_size: Decimal::new(1, 2),
        quantity_step: Decimal::new(1, 6),
        amount_step: Decimal::new(1, 7),
        min_notional: Decimal::from(5),
        max_limit_quantity: Decimal::from(1_000_000_000),
        max_market_quantity: Decimal::from(1_000_000_000),
        trading: true,
    }
}

/// Computes the ladder.
///
/// # Errors
/// The level and the rule it breaks.
pub fn sheet<'a>(
    price: Decimal,
    parameters: &'a Parameters,
    instrument: &'a Instrument,
    origin: Origin,
) -> Result<Sheet<'a>, LadderError> {
    let levels = ladder::plan(price, parameters, instrument)?;
    Ok(Sheet { price, parameters, instrument, origin, levels })
}

impl Sheet<'_> {
    /// The table for people, with what the columns mean below it.
    pub fn table(&self) -> String {
        let mut out = String::new();
        let Self { parameters, instrument, .. } = self;
        let mode = match parameters.take_profit_mode {
            TakeProfitMode::Average => "one take profit for all that is held",
            TakeProfitMode::PerLevel => "one take profit for each level's lot",
        };
        let _ = writeln!(
            out,
            "{} from {}: {} % net profit, {mode}; fee {} % assumed\n",
            parameters.symbol,
            text(self.price),
            text(parameters.take_profit_percent),
            text(parameters.fee_rate * Decimal::ONE_HUNDRED),
        );
        let (base, quote) = (instrument.base_coin.as_str(), instrument.quote_coin.as_str());
        let mut rows = vec![
            ["level", "price", "amount", "quantity", "spent", "average", "break-even", "take profit", "bounce"]
                .map(str::to_owned),
            ["", quote, quote, base, quote, quote, quote, quote, "%"].map(str::to_owned),
        ];
        rows.extend(self.levels.iter().map(|level| self.row(level)));
        align(&rows, &mut out);
        let _ = write!(
            out,
            "\nspent: by this level and those above, to {} digits; average: the price paid so far; break-even: where the \
             sale\nreturns its cost after fees; bounce: how far the price must rise from this level to the take profit.\n",
            self.shown_digits()
        );
        match self.origin {
            Origin::Exchange => {}
            Origin::StateDirectory => out.push_str("Filters as the exchange last told them; it was not asked now.\n"),
            Origin::Assumed => {
                let _ = writeln!(
                    out,
                    "Filters are assumed, the exchange was not asked: tick {}, step {}, at least {} {quote} an order.",
                    text(instrument.tick_size),
                    text(instrument.quantity_step),
                    text(instrument.min_notional),
                );
            }
        }
        out
    }

    fn row(&self, level: &PlannedLevel) -> [String; 9] {
        let price = |price: Decimal| fixed(price, self.instrument.tick_size.normalize().scale());
        [
            level.level.to_string(),
            price(level.price),
            text(level.amount),
            fixed(level.quantity, self.instrument.quantity_step.normalize().scale()),
            fixed(level.spent, self.shown_digits()),
            fixed(level.average, self.shown_digits()),
            price(level.break_even),
            price(level.take_profit),
            fixed(level.bounce() * Decimal::ONE_HUNDRED, 2),
        ]
    }

    /// Digits of amounts that are no multiples of the tick: two more than prices have.
    fn shown_digits(&self) -> u32 {
        self.instrument.tick_size.normalize().scale() + 2
    }

    /// One object with every number exact, as text.
    pub fn json(&self) -> Value {
        let Self { parameters, instrument, .. } = self;
        let levels: Vec<Value> = self.levels.iter().map(level_json).collect();
        json!({
            "symbol": parameters.symbol,
            "base_coin": instrument.base_coin,
            "quote_coin": instrument.quote_coin,
            "price": text(self.price),
            "take_profit_mode": parameters.take_profit_mode,
            "fee_rate": text(parameters.fee_rate),
            "filters": {
                "from": match self.origin {
                    Origin::Exchange => "exchange",
                    Origin::StateDirectory => "state_directory",
                    Origin::Assumed => "assumed",
                },
                "tick_size": text(instrument.tick_size),
                "quantity_step": text(instrument.quantity_step),
                "min_notional": text(instrument.min_notional),
            },
            "levels": levels,
        })
    }
}

fn level_json(level: &PlannedLevel) -> Value {
    json!({
        "level": level.level,
        "price": text(level.price),
        "amount": text(level.amount),
        "quantity": text(level.quantity),
        "spent": text(level.spent),
        "average": text(level.average),
        "sell_quantity": text(level.sell_quantity),
        "break_even": text(level.break_even),
        "take_profit": text(level.take_profit),
        "bounce_percent": text(level.bounce() * Decimal::ONE_HUNDRED),
    })
}

/// The number with exactly so many digits after the point, rounded half away from zero.
fn fixed(number: Decimal, digits: u32) -> String {
    let mut number = number.round_dp_with_strategy(digits, rust_decimal::RoundingStrategy::MidpointAwayFromZero);
    number.rescale(digits);
    number.to_string()
}

/// Writes the rows with every column as wide as its widest cell, to the right.
fn align<const N: usize>(rows: &[[String; N]], out: &mut String) {
    let width = |column: usize| rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max();
    for row in rows {
        let cells = row.iter().enumerate().map(|(column, cell)| format!("{cell:>0$}", width(column).unwrap_or(0)));
        let _ = writeln!(out, "{}", cells.collect::<Vec<_>>().join("  "));
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn parameters(more: &str) -> Parameters {
        let text = format!(
            "bot = \"b\"\nenvironment = \"demo\"\n[strategy]\nsymbol = \"BTCUSDT\"\nbase_order_amount = 50\n\
             take_profit_percent = 1\nmax_rebuys = 3\nrebuy_step_percent = 1\nstep_scale = 1.5\namount_scale = 1.5\n{more}"
        );
        crate::config::parse(&text, Path::new("test.toml")).unwrap().parameters
    }

    fn price() -> Decimal {
        Decimal::new(6_000_010, 2)
    }

    #[test]
    fn the_table_shows_the_strategys_own_example() {
        let parameters = parameters("max_capital = 300");
        let instrument = assumed_instrument("BTCUSDT");
        let sheet = sheet(price(), &parameters, &instrument, Origin::Assumed).unwrap();
        let expected = "\
BTCUSDT from 60000.1: 1 % net profit, one take profit for all that is held; fee 0.1 % assumed

level     price  amount  quantity     spent     average  break-even  take profit  bounce
           USDT    USDT       BTC      USDT        USDT        USDT         USDT       %
    0  60000.10      50  0.000833   49.9801  60000.1000    60132.35     60733.68    1.22
    1  59400.09      50  0.000841   99.9356  59698.6613    59829.91     60428.21    1.73
    2  58500.09      75  0.001282  174.9327  59178.8479    59298.27     59891.25    2.38
    3  57150.09   112.5  0.001968  287.4041  58368.0040    58485.82     59070.68    3.36
";
        assert!(sheet.table().starts_with(expected), "{}", sheet.table());
        assert!(
            sheet.table().contains("assumed, the exchange was not asked: tick 0.01, step 0.000001, at least 5 USDT")
        );
    }

    #[test]
    fn json_is_exact_and_says_where_the_filters_came_from() {
        let parameters = parameters("max_capital = 300");
        let instrument = assumed_instrument("BTCUSDT");
        let json = sheet(price(), &parameters, &instrument, Origin::Exchange).unwrap().json();
        assert_eq!(json["filters"]["from"], "exchange");
        assert_eq!(json["levels"][0]["spent"], "49.9800833");
        assert_eq!(json["levels"][0]["take_profit"], "60733.68");
        assert_eq!(json["levels"].as_array().map(Vec::len), Some(4));
        assert_eq!(json["take_profit_mode"], "average");
    }

    #[test]
    fn a_ladder_that_breaks_a_rule_names_it() {
        let parameters = parameters("max_capital = 300\nrebuy_amount = 3");
        let instrument = assumed_instrument("BTCUSDT");
        let error = sheet(price(), &parameters, &instrument, Origin::Assumed).unwrap_err().to_string();
        assert!(error.contains("rebuy 1: ") && error.contains("minOrderAmt"), "{error}");
    }

    #[test]
    fn the_coins_of_a_symbol_are_guessed_from_its_end() {
        let coins = |symbol| {
            let Instrument { base_coin, quote_coin, .. } = assumed_instrument(symbol);
            (base_coin, quote_coin)
        };
        assert_eq!(coins("BTCUSDT"), ("BTC".into(), "USDT".into()));
        assert_eq!(coins("ETHBTC"), ("ETH".into(), "BTC".into()));
        assert_eq!(coins("USDT"), ("base".into(), "quote".into()));
    }
}
