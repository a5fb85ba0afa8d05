//! The ladder: where the rebuys go and what the take profit must be, from the formulas of the strategy.
//!
//! In: the base order's price, the parameters, the instrument. Out: prices and quantities that pass every
//! filter, or the level and the rule that it breaks. The same functions serve the live strategy, `plan` and
//! the check before the first order: what is shown is what is placed.

use std::fmt;

use super::instrument::{Filter, Instrument};
use super::money::{self, Decimal};
use super::parameters::{DeviationFrom, Parameters, TakeProfitMode};

/// One rebuy as it would be placed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rebuy {
    /// From 1.
    pub level: u8,
    /// Limit price, a multiple of the tick.
    pub price: Decimal,
    /// The level's amount by the parameters, in quote coin.
    pub amount: Decimal,
    /// `amount / price`, down to the step, in base coin.
    pub quantity: Decimal,
}

impl Rebuy {
    /// Checks it against the instrument's filters.
    ///
    /// # Errors
    /// The filter that forbids it.
    pub fn check(&self, instrument: &Instrument) -> Result<(), Filter> {
        instrument.check_limit(self.price, self.quantity)
    }
}

/// One level of the plan: what has been spent when it is filled, and what is then offered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlannedLevel {
    /// 0 is the base order.
    pub level: u8,
    /// The buy's price.
    pub price: Decimal,
    /// The level's amount by the parameters, in quote coin.
    pub amount: Decimal,
    /// The buy's quantity, in base coin.
    pub quantity: Decimal,
    /// Quote coin spent on this level and those above.
    pub spent: Decimal,
    /// Average price of all that was bought so far, rounded to 28 digits for display.
    pub average: Decimal,
    /// What the take profit of this level would offer: everything in `average` mode, the lot in `per_level`.
    pub sell_quantity: Decimal,
    /// The price at which that sell returns its cost after the fee, up to the tick.
    pub break_even: Decimal,
    /// The take profit's price.
    pub take_profit: Decimal,
}

impl PlannedLevel {
    /// How far the price must rise from this level to the take profit, as a fraction.
    pub fn bounce(&self) -> Decimal {
        self.take_profit.checked_div(self.price).and_then(|ratio| ratio.checked_sub(Decimal::ONE)).unwrap_or_default()
    }
}

/// Why a ladder cannot be placed: the level and the rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LadderError {
    /// The level that breaks the rule; 0 is the base order.
    pub level: u8,
    /// Whether the sell after the level breaks the rule, and not the level's buy.
    pub sell: bool,
    /// The rule.
    pub rule: LadderRule,
}

/// The rules a ladder must pass.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LadderRule {
    /// A filter of the instrument, and the price and quantity that break it.
    Filter {
        /// The filter.
        filter: Filter,
        /// In quote coin.
        price: Decimal,
        /// In base coin.
        quantity: Decimal,
    },
    /// The deviation reaches the whole price.
    PriceNotPositive,
    /// The ladder up to this level costs more than `max_capital`.
    MaxCapital {
        /// What it costs, in quote coin.
        cost: Decimal,
        /// What it may cost, in quote coin.
        limit: Decimal,
    },
    /// The scales make a number of more than 28 digits before the point.
    Overflow,
}

impl fmt::Display for LadderError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.level, self.sell) {
            (0, false) => write!(f, "base order: ")?,
            (level, false) => write!(f, "rebuy {level}: ")?,
            (level, true) => write!(f, "take profit after level {level}: ")?,
        }
        let text = money::text;
        match &self.rule {
            LadderRule::Filter { filter, price, quantity } => {
                write!(f, "{filter} (price {}, quantity {})", text(*price), text(*quantity))
            }
            LadderRule::PriceNotPositive => {
                f.write_str("the deviation reaches 100 %: lower rebuy_step_percent, step_scale or max_rebuys")
            }
            LadderRule::MaxCapital { cost, limit } => write!(
                f,
                "the ladder costs {} up to here, max_capital is {}: lower the amounts or raise max_capital",
                text(*cost),
                text(*limit)
            ),
            LadderRule::Overflow => f.write_str("step_scale or amount_scale make numbers too large to hold"),
        }
    }
}

impl std::error::Error for LadderError {}

/// The whole ladder's cost in quote coin, by the parameters alone: base order and every rebuy's amount.
///
/// # Errors
/// The first level whose cost exceeds `max_capital`, or overflows.
pub fn cost(parameters: &Parameters) -> Result<Decimal, LadderError> {
    let mut cost = Decimal::ZERO;
    let amounts = std::iter::once(Some(parameters.base_order_amount)).chain(amounts(parameters));
    for (level, amount) in (0..=u8::MAX).zip(amounts) {
        let error = |rule| LadderError { level, sell: false, rule };
        cost = amount.and_then(|amount| cost.checked_add(amount)).ok_or(error(LadderRule::Overflow))?;
        if cost > parameters.max_capital {
            return Err(error(LadderRule::MaxCapital { cost, limit: parameters.max_capital }));
        }
    }
    Ok(cost)
}

/// `a_k = a₁·m^{k−1}` for each rebuy; `None` once it overflows.
fn amounts(parameters: &Parameters) -> impl Iterator<Item = Option<Decimal>> {
    let scale = parameters.amount_scale;
    std::iter::successors(Some(Some(parameters.rebuy_amount)), move |amount| Some((*amount)?.checked_mul(scale)))
        .take(usize::from(parameters.max_rebuys))
}

/// The price of each rebuy below `base_price`, down to the tick; `None` where it is not positive.
///
/// `deviation_from = base`: `p_k = p₀·(1 − d·(1 + s + … + s^{k−1}))`;
/// `deviation_from = previous`: `p_k = p_{k−1}·(1 − d·s^{k−1})`. Powers are carried to 28 digits.
fn prices(
    base_price: Decimal,
    parameters: &Parameters,
    instrument: &Instrument,
) -> impl Iterator<Item = Option<Decimal>> {
    let (mut step, mut deviation, mut previous) =
        (Some(parameters.rebuy_step()), Some(Decimal::ZERO), Some(base_price));
    (0..parameters.max_rebuys).map(move |_| {
        deviation = deviation.zip(step).and_then(|(sum, step)| sum.checked_add(step));
        let (from, by) = match parameters.deviation_from {
            DeviationFrom::Base => (Some(base_price), deviation),
            DeviationFrom::Previous => (previous, step),
        };
        step = step.and_then(|step| step.checked_mul(parameters.step_scale));
        let by = by.filter(|by| *by < Decimal::ONE)?;
        let price = instrument.price_down(from?.checked_mul(Decimal::ONE.checked_sub(by)?)?);
        previous = Some(price).filter(|price| *price > Decimal::ZERO);
        previous
    })
}

/// The rebuys below a base order at this average price, in order, each passing the instrument's filters.
///
/// # Errors
/// The first level that breaks a rule; no level is returned then.
pub fn rebuys(
    base_price: Decimal,
    parameters: &Parameters,
    instrument: &Instrument,
) -> Result<Vec<Rebuy>, LadderError> {
    match levels(base_price, parameters, instrument) {
        (rebuys, None) => Ok(rebuys),
        (_, Some(error)) => Err(error),
    }
}

/// The rebuys below a base order at this average price, in order, and the first level that breaks a rule, if any. Levels that
/// a filter forbids are included, because an order may already rest there. The ladder ends at a level without a price.
pub fn levels(
    base_price: Decimal,
    parameters: &Parameters,
    instrument: &Instrument,
) -> (Vec<Rebuy>, Option<LadderError>) {
    let (mut rebuys, mut broken) = (Vec::with_capacity(usize::from(parameters.max_rebuys)), None);
    let levels = prices(base_price, parameters, instrument).zip(amounts(parameters));
    for (level, (price, amount)) in (1..=u8::MAX).zip(levels) {
        let error = |rule| LadderError { level, sell: false, rule };
        let rebuy = match rebuy(level, price, amount, instrument) {
            Ok(rebuy) => rebuy,
            Err(rule) => return (rebuys, broken.or(Some(error(rule)))),
        };
        if let Err(filter) = rebuy.check(instrument) {
            let (price, quantity) = (rebuy.price, rebuy.quantity);
            broken = broken.or(Some(error(LadderRule::Filter { filter, price, quantity })));
        }
        rebuys.push(rebuy);
    }
    (rebuys, broken)
}

fn rebuy(
    level: u8,
    price: Option<Decimal>,
    amount: Option<Decimal>,
    instrument: &Instrument,
) -> Result<Rebuy, LadderRule> {
    let price = price.ok_or(LadderRule::PriceNotPositive)?;
    let amount = amount.ok_or(LadderRule::Overflow)?;
    let quantity = money::quotient_floor(amount, price, instrument.quantity_step).ok_or(LadderRule::Overflow)?;
    Ok(Rebuy { level, price, amount, quantity })
}

/// `cost·(1 + g) / (quantity·(1 − f))`, up to the tick: the lowest price at which selling `quantity` returns the
/// cost and the profit fraction `g` after the sell's fee `f`.
///
/// `None` if there is nothing to sell, the fee takes all, or a number overflows.
pub fn take_profit_price(
    cost: Decimal,
    profit: Decimal,
    quantity: Decimal,
    fee_rate: Decimal,
    instrument: &Instrument,
) -> Option<Decimal> {
    let wanted = cost.checked_mul(Decimal::ONE.checked_add(profit)?)?;
    let kept = quantity.checked_mul(Decimal::ONE.checked_sub(fee_rate)?)?;
    money::quotient_ceil(wanted, kept, instrument.tick_size)
}

/// The whole ladder if the base order were filled at `ask`: the check before the first order, and the table of `plan`. Fees
/// are charged at the assumed rate, in the coin that is received.
///
/// # Errors
/// The first level and the rule that it breaks: a filter for its buy or for the sell after it, a price that is
/// not positive, or `max_capital`.
pub fn plan(ask: Decimal, parameters: &Parameters, instrument: &Instrument) -> Result<Vec<PlannedLevel>, LadderError> {
    cost(parameters)?;
    let base_error = |rule| LadderError { level: 0, sell: false, rule };
    let base_amount = money::floor_to(parameters.base_order_amount, instrument.amount_step);
    let base_quantity =
        money::quotient_floor(base_amount, ask, instrument.quantity_step).ok_or(base_error(LadderRule::Overflow))?;
    let broken = |filter| base_error(LadderRule::Filter { filter, price: ask, quantity: base_quantity });
    if base_quantity.is_zero() {
        return Err(broken(Filter::QuantityStep));
    }
    if base_amount < instrument.min_notional {
        return Err(broken(Filter::MinNotional));
    }
    if base_quantity > instrument.max_market_quantity {
        return Err(broken(Filter::MaxQuantity));
    }
    let base = Rebuy { level: 0, price: ask, amount: parameters.base_order_amount, quantity: base_quantity };
    let mut so_far = SoFar::default();
    std::iter::once(base)
        .chain(rebuys(ask, parameters, instrument)?)
        .map(|buy| so_far.fill(buy, parameters, instrument))
        .collect()
}

/// Totals over the levels so far.
#[derive(Default)]
struct SoFar {
    spent: Decimal,
    bought: Decimal,
    held: Decimal,
}

impl SoFar {
    /// Adds a buy. Its cost, and what it leaves after the fee; `None` if a number overflows.
    fn add(&mut self, buy: &Rebuy, fee_rate: Decimal) -> Option<(Decimal, Decimal)> {
        let cost = buy.price.checked_mul(buy.quantity)?;
        let held = buy.quantity.checked_sub(buy.quantity.checked_mul(fee_rate)?)?;
        self.spent = self.spent.checked_add(cost)?;
        self.bought = self.bought.checked_add(buy.quantity)?;
        self.held = self.held.checked_add(held)?;
        Some((cost, held))
    }

    fn fill(
        &mut self,
        buy: Rebuy,
        parameters: &Parameters,
        instrument: &Instrument,
    ) -> Result<PlannedLevel, LadderError> {
        let error = |sell, rule| LadderError { level: buy.level, sell, rule };
        let overflow = || error(false, LadderRule::Overflow);
        let (lot_cost, lot_held) = self.add(&buy, parameters.fee_rate).ok_or_else(overflow)?;
        let (cost, held) = match parameters.take_profit_mode {
            TakeProfitMode::Average => (self.spent, self.held),
            TakeProfitMode::PerLevel => (lot_cost, lot_held),
        };
        let sell_quantity = instrument.quantity_down(held);
        let nothing = Filter::QuantityStep;
        let price_for = |profit| {
            take_profit_price(cost, profit, sell_quantity, parameters.fee_rate, instrument).ok_or_else(|| {
                error(true, LadderRule::Filter { filter: nothing, price: buy.price, quantity: sell_quantity })
            })
        };
        let take_profit = price_for(parameters.take_profit())?;
        instrument.check_limit(take_profit, sell_quantity).map_err(|filter| {
            error(true, LadderRule::Filter { filter, price: take_profit, quantity: sell_quantity })
        })?;
        Ok(PlannedLevel {
            level: buy.level,
            price: buy.price,
            amount: buy.amount,
            quantity: buy.quantity,
            spent: self.spent,
            average: self.spent.checked_div(self.bought).ok_or_else(overflow)?,
            sell_quantity,
            break_even: price_for(Decimal::ZERO)?,
            take_profit,
        })
    }
}

#[cfg(test)]
mod tests {
    use rand::rngs::SmallRng;
    use rand::{RngExt as _, SeedableRng as _};

    use super::super::fixtures;
    use super::super::fixtures::{d, parameters};
    use super::*;

    fn instrument(tick_size: &str, quantity_step: &str, min_notional: &str) -> Instrument {
        let (tick_size, quantity_step, min_notional) = (d(tick_size), d(quantity_step), d(min_notional));
        Instrument { tick_size, quantity_step, min_notional, ..fixtures::instrument() }
    }

    fn error(parameters: &Parameters, instrument: &Instrument) -> (u8, bool, String) {
        let error = plan(d("100"), parameters, instrument).unwrap_err();
        (error.level, error.sell, error.to_string())
    }

    #[test]
    fn the_ideal_vectors_of_the_strategy_come_out() {
        let ideal = instrument("0.000000000001", "0.000000000001", "0");
        let per_level = Parameters { take_profit_mode: TakeProfitMode::PerLevel, ..parameters() };
        let average = plan(d("100"), &parameters(), &ideal).unwrap();
        let per_level = plan(d("100"), &per_level, &ideal).unwrap();
        let vectors = [
            ["100", "10", "100", "101.2023", "101.2023"],
            ["99", "20", "99.4975", "100.6937", "100.1903"],
            ["97.5", "40", "98.4886", "99.6727", "98.6722"],
            ["95.25", "80", "96.8422", "98.0066", "96.3952"],
        ];
        assert_eq!((average.len(), per_level.len()), (4, 4));
        for ((average, per_level), vector) in average.iter().zip(&per_level).zip(vectors) {
            let [price, spent, paid, take_profit, own_take_profit] = vector.map(d);
            assert_eq!(average.price, price);
            assert_eq!(average.spent.round_dp(4), spent);
            assert_eq!(average.average.round_dp(4), paid);
            assert_eq!(average.take_profit.round_dp(4), take_profit);
            assert_eq!(per_level.take_profit.round_dp(4), own_take_profit);
        }
    }

    #[test]
    fn the_rounded_vectors_of_the_strategy_come_out() {
        let parameters = Parameters {
            base_order_amount: d("50"),
            rebuy_amount: d("50"),
            amount_scale: d("1.5"),
            max_capital: d("300"),
            ..parameters()
        };
        let real = instrument("0.01", "0.000001", "5");
        let levels = plan(d("60000.10"), &parameters, &real).unwrap();
        let base = &levels[0];
        assert_eq!((base.quantity, base.spent), (d("0.000833"), d("49.98008330")));
        assert_eq!((base.sell_quantity, base.take_profit), (d("0.000832"), d("60733.68")));
        assert_eq!(base.sell_quantity * base.take_profit * d("0.999"), d("50.47989133824"));
        let rebuys: Vec<_> = levels[1..].iter().map(|level| (level.quantity, level.price)).collect();
        assert_eq!(
            rebuys,
            [(d("0.000841"), d("59400.09")), (d("0.001282"), d("58500.09")), (d("0.001968"), d("57150.09"))]
        );
    }

    #[test]
    fn steps_from_the_level_above_multiply() {
        let ideal = instrument("0.000000000001", "0.000000000001", "0");
        let parameters = Parameters { deviation_from: DeviationFrom::Previous, step_scale: d("2"), ..parameters() };
        let prices: Vec<_> = rebuys(d("100"), &parameters, &ideal).unwrap().iter().map(|rebuy| rebuy.price).collect();
        assert_eq!(prices, [d("99"), d("97.02"), d("93.1392")]);
    }

    #[test]
    fn errors_name_the_level_and_the_rule() {
        let real = instrument("0.01", "0.0001", "5");
        let with = |change: fn(&mut Parameters)| {
            let mut parameters = parameters();
            change(&mut parameters);
            error(&parameters, &real)
        };
        let (level, sell, text) = with(|parameters| parameters.max_capital = d("79.99"));
        assert_eq!((level, sell), (3, false));
        assert!(text.starts_with("rebuy 3: the ladder costs 80 up to here, max_capital is 79.99"), "{text}");
        let (level, sell, text) = with(|parameters| parameters.rebuy_amount = d("4"));
        assert_eq!((level, sell), (1, false));
        assert!(text.contains("minOrderAmt"), "{text}");
        let (level, sell, text) = with(|parameters| parameters.rebuy_step_percent = d("25"));
        assert_eq!((level, sell), (3, false), "25 % + 37.5 % + 56.25 % is more than the price");
        assert!(text.contains("deviation reaches 100 %"), "{text}");
        let (level, sell, text) = with(|parameters| parameters.base_order_amount = d("0.001"));
        assert_eq!((level, sell), (0, false));
        assert!(text.starts_with("base order: quantity is not a positive multiple"), "{text}");
        let (level, sell, _) = with(|parameters| {
            parameters.amount_scale = d("99999999999999");
            parameters.max_capital = d("99999999999999");
        });
        assert_eq!((level, sell), (2, false), "an overflow is named, not a panic");
    }

    #[test]
    fn a_lot_too_small_to_sell_after_the_fee_is_refused_before_it_is_bought() {
        // 10 buys exactly one step of 0.1; the fee leaves 0.0999, of which nothing can be sold.
        let coarse = instrument("0.01", "0.1", "5");
        let (level, sell, text) = error(&Parameters { max_rebuys: 0, ..parameters() }, &coarse);
        assert_eq!((level, sell), (0, true));
        assert!(text.starts_with("take profit after level 0: quantity is not"), "{text}");
    }

    #[test]
    fn the_largest_quantity_of_one_order_is_respected() {
        let mut small = instrument("0.01", "0.0001", "5");
        small.max_limit_quantity = d("0.3");
        assert_eq!(error(&parameters(), &small).0, 3);
        small.max_market_quantity = d("0.05");
        assert_eq!(error(&parameters(), &small).0, 0);
    }

    /// A ladder drawn from a seed; most of them can be placed.
    fn draw(random: &mut SmallRng) -> (Decimal, Parameters, Instrument) {
        let mut number = |low: i64, high: i64, scale: u32| Decimal::new(random.random_range(low..=high), scale);
        let instrument =
            instrument(["0.01", "0.0001", "0.5", "1"][number(0, 3, 0).mantissa() as usize], "0.000001", "5");
        let ask = instrument.price_down(number(10_000, 10_000_000, 2));
        let drawn = Parameters {
            base_order_amount: number(600, 50_000, 2),
            rebuy_amount: number(600, 50_000, 2),
            take_profit_percent: number(1, 500, 2),
            max_rebuys: u8::try_from(number(0, 12, 0).mantissa()).unwrap(),
            rebuy_step_percent: number(50, 300, 2),
            step_scale: number(80, 150, 2),
            amount_scale: number(90, 180, 2),
            fee_rate: number(0, 20, 4),
            max_capital: d("99999999999999"),
            ..parameters()
        };
        let (mode, from) = (number(0, 1, 0).is_zero(), number(0, 1, 0).is_zero());
        let parameters = Parameters {
            take_profit_mode: if mode { TakeProfitMode::Average } else { TakeProfitMode::PerLevel },
            deviation_from: if from { DeviationFrom::Base } else { DeviationFrom::Previous },
            ..drawn
        };
        (ask, parameters, instrument)
    }

    #[test]
    fn every_ladder_descends_in_ticks_and_costs_no_more_than_its_amounts() {
        let mut planned = 0;
        for seed in 0..2_000 {
            let (ask, parameters, instrument) = draw(&mut SmallRng::seed_from_u64(seed));
            let Ok(rebuys) = rebuys(ask, &parameters, &instrument) else { continue };
            planned += 1;
            let mut above = ask;
            for rebuy in rebuys {
                assert!(rebuy.price < above, "seed {seed}: level {} is not below the one above", rebuy.level);
                assert_eq!(rebuy.price % instrument.tick_size, Decimal::ZERO, "seed {seed}");
                assert_eq!(rebuy.quantity % instrument.quantity_step, Decimal::ZERO, "seed {seed}");
                assert!(rebuy.price * rebuy.quantity <= rebuy.amount, "seed {seed}");
                let next_step = rebuy.quantity + instrument.quantity_step;
                assert!(rebuy.price * next_step > rebuy.amount, "seed {seed}: more would have fitted");
                above = rebuy.price;
            }
        }
        assert!(planned > 1_000, "only {planned} of the drawn ladders can be placed: the test shows nothing");
    }

    #[test]
    fn every_take_profit_nets_the_profit_and_a_tick_less_would_not() {
        let mut checked = 0;
        for seed in 0..2_000 {
            let (ask, parameters, instrument) = draw(&mut SmallRng::seed_from_u64(seed));
            let Ok(levels) = plan(ask, &parameters, &instrument) else { continue };
            let mut spent_above = Decimal::ZERO;
            for level in levels {
                let cost = match parameters.take_profit_mode {
                    TakeProfitMode::Average => level.spent,
                    TakeProfitMode::PerLevel => level.spent - spent_above,
                };
                spent_above = level.spent;
                let net = |price: Decimal| price * level.sell_quantity * (Decimal::ONE - parameters.fee_rate) - cost;
                let wanted = cost * parameters.take_profit();
                assert!(net(level.take_profit) >= wanted, "seed {seed}: level {} nets too little", level.level);
                assert!(net(level.take_profit - instrument.tick_size) < wanted, "seed {seed}: a tick too high");
                assert!(net(level.break_even) >= Decimal::ZERO, "seed {seed}");
                assert!(net(level.break_even - instrument.tick_size) < Decimal::ZERO, "seed {seed}");
                checked += 1;
            }
        }
        assert!(checked > 2_000, "only {checked} levels were checked: the test shows nothing");
    }
}
