//! The prices that a page draws where there are no candles: those at which the bot itself traded.
//!
//! In: fills, in order. Out: a recording of one-minute candles made of them, so that one and the same code draws and
//! measures both.

use crate::backtest::course::Trade;
use crate::core::money::Decimal;
use crate::core::time::Timestamp;
use crate::simulation::market::Recording;
use crate::simulation::market::candles::Candle;

const MINUTE: i64 = 60_000;

/// One candle for each minute that has a fill. A price that cannot be held in ticks of this size is left out.
pub fn of_fills<'f>(fills: impl Iterator<Item = &'f Trade>, tick_size: Decimal) -> Recording {
    let mut fills: Vec<(Timestamp, Decimal)> = fills
        .map(|fill| (fill.execution.time, fill.execution.price))
        .filter(|(_, price)| *price > Decimal::ZERO)
        .collect();
    fills.sort_by_key(|(time, _)| *time);
    let mut recording = Recording::new(tick_size);
    let mut minute: Option<Candle> = None;
    for (time, price) in fills {
        let start = Timestamp(time.0 - time.0.rem_euclid(MINUTE));
        match minute.as_mut().filter(|candle| candle.start == start) {
            Some(candle) => {
                candle.high = candle.high.max(price);
                candle.low = candle.low.min(price);
                candle.close = price;
            }
            None => {
                let candle = Candle { start, open: price, high: price, low: price, close: price };
                let done = minute.replace(candle);
                done.map(|candle| recording.push(&candle));
            }
        }
    }
    minute.map(|candle| recording.push(&candle));
    recording
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::order::{Execution, OrderKey, Side, Slot};

    fn fill(seconds: i64, price: i64) -> Trade {
        let execution = Execution {
            exec_id: String::new(),
            link_id: String::new(),
            order_id: String::new(),
            side: Side::Buy,
            price: Decimal::from(price),
            quantity: Decimal::ONE,
            value: Decimal::from(price),
            fee: Decimal::ZERO,
            fee_coin: "USDT".to_owned(),
            maker: true,
            time: Timestamp(seconds * 1000),
        };
        Trade { key: OrderKey { cycle: 1, slot: Slot::Buy(0), attempt: 1 }, execution }
    }

    #[test]
    fn fills_of_one_minute_are_one_candle() {
        let fills = [fill(5, 100), fill(50, 90), fill(59, 95), fill(200, 110)];
        let recording = of_fills(fills.iter(), Decimal::ONE);
        assert_eq!(recording.starts(), [Timestamp(0), Timestamp(180_000)]);
        assert_eq!(recording.prices()[0], [100, 100, 90, 95]);
        assert!(of_fills([].iter(), Decimal::ONE).is_empty());
    }
}
