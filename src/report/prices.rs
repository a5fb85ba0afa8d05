//! The prices that a page draws where there are no candles: those at which the bot itself traded.
//!
//! In: fills, in order. Out: a recording made of them, so that one and the same code draws and measures both.

use crate::backtest::course::Trade;
use crate::core::money::Decimal;
use crate::core::time::Timestamp;
use crate::simulation::market::Recording;
use crate::simulation::market::candles::Candle;

/// One candle for each moment that has a fill. A price that cannot be held in ticks of this size is left out.
pub fn of_fills<'f>(fills: impl Iterator<Item = &'f Trade>, tick_size: Decimal) -> Recording {
    let fills = fills.map(|fill| (fill.execution.time, fill.execution.price));
    let mut fills: Vec<(Timestamp, Decimal)> = fills.filter(|(_, price)| *price > Decimal::ZERO).collect();
    fills.sort_by_key(|(time, _)| *time);
    let mut recording = Recording::new(tick_size);
    for moment in fills.chunk_by(|one, next| one.0 == next.0) {
        let (Some((start, open)), Some((_, close))) = (moment.first(), moment.last()) else { continue };
        let bounds =
            |(high, low): (Decimal, Decimal), (_, price): &(Timestamp, Decimal)| (high.max(*price), low.min(*price));
        let (high, low) = moment.iter().fold((*open, *open), bounds);
        recording.push(&Candle { start: *start, open: *open, high, low, close: *close });
    }
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
    fn fills_of_one_moment_are_one_candle() {
        let fills = [fill(5, 100), fill(5, 90), fill(5, 95), fill(200, 110)];
        let recording = of_fills(fills.iter(), Decimal::ONE);
        assert_eq!(recording.starts(), [Timestamp(5_000), Timestamp(200_000)]);
        assert_eq!(recording.prices(), [[100, 100, 90, 95], [110; 4]]);
        assert!(of_fills([].iter(), Decimal::ONE).is_empty());
    }
}
