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
    /// What the parameters give this level, in quote coin.
    pub amount: Decimal,
    /// `amount / price`, down to the step, in base coin.
    pub quantity: Decimal,
}

/// One level of the plan: what has been spent when it is filled, and what is then offered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlannedLevel {
    /// 0 is the base order.
    pub level: u8,
    /// The buy's price.
    pub price: Decimal,
    /// What the parameters give this level, in quote coin.
    pub amount: Decimal,
    /// The buy's quantity, in base coin.
    pub quantity: Decimal,
    /// Quote coin spent on this level and those above.
    pub spent: Decimal,
    /// Average price of all that was bought so far, rounded to 28 digits for display.
    pub average: Decimal,
    /// What the take profit of this level would offer: everything in `average` mode, the lot in `per_level`.
    pub sell_quantity: Decimal,
    /// Where that offer returns exactly its cost after the sell's fee, up to the tick.
    pub break_even: Decimal,
    /// The take profit's price.
    pub take_profit: Decimal,
}

impl PlannedLevel {
    /// How far the price must rise from this level to the take profit, as a fraction.
    pub fn bounce(&self) -> Decimal {
        self.take_profit.checked_div(self.price).map_or(Decimal::ZERO, |ratio| ratio - Decimal::ONE)
    }
}

/// Why a ladder cannot be placed: the level and the rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LadderError {
    /// The level that breaks the rule; 0 is the base order.
    pub level: u8,
    /// Whether the rule is broken by the level's buy or by the sell after it.
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
        let price = instrument.price_down(from?.checked_mul(Decimal::ONE - by)?);
        previous = Some(price).filter(|price| *price > Decimal::ZERO);
        previous
    })
}

/// The rebuys below a base order of this average price, in order, each passing the instrument's filters.
///
/// # Errors
/// The first level that breaks a rule; levels above it are then not returned either.
pub fn rebuys(
    base_price: Decimal,
    parameters: &Parameters,
    instrument: &Instrument,
) -> Result<Vec<Rebuy>, LadderError> {
    let levels = prices(base_price, parameters, instrument).zip(amounts(parameters));
    (1..=u8::MAX)
        .zip(levels)
        .map(|(level, (price, amount))| {
            let error = |rule| LadderError { level, sell: false, rule };
            let price = price.ok_or(error(LadderRule::PriceNotPositive))?;
            let amount = amount.ok_or(error(LadderRule::Overflow))?;
            let quantity = money::quotient_floor(amount, price, instrument.quantity_step);
            let quantity = quantity.ok_or(error(LadderRule::Overflow))?;
            instrument
                .check_limit(price, quantity)
                .map_err(|filter| error(LadderRule::Filter { filter, price, quantity }))?;
            Ok(Rebuy { level, price, amount, quantity })
        })
        .collect()
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
    let wanted = cost.checked_mul(Decimal::ONE + profit)?;
    let kept = quantity.checked_mul(Decimal::ONE - fee_rate)?;
    money::quotient_ceil(wanted, kept, instrument.tick_size)
}

/// The whole ladder as it would be placed if the base order were filled at `ask`: the check before the first
/// order, and the table of `plan`. Fees are the assumed rate, taken from what is received.
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

/// What the levels above have spent and brought.
#[derive(Default)]
struct SoFar {
    spent: Decimal,
    bought: Decimal,
    held: Decimal,
}

impl SoFar {
    fn fill(
        &mut self,
        buy: Rebuy,
        parameters: &Parameters,
        instrument: &Instrument,
    ) -> Result<PlannedLevel, LadderError> {
        let error = |sell, rule| LadderError { level: buy.level, sell, rule };
        let overflow = || error(false, LadderRule::Overflow);
        let lot_cost = buy.price.checked_mul(buy.quantity).ok_or_else(overflow)?;
        let lot_held = buy.quantity - buy.quantity * parameters.fee_rate;
        self.spent += lot_cost;
        self.bought += buy.quantity;
        self.held += lot_held;
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
