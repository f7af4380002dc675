//! The generator: walks through the schedule and decides what each message of the day is.

use super::activity::Activity;
use super::clock::Clock;
use super::instrument::Instrument;
use super::market::{Market, NewOrder, Slot};
use super::parameters::{Parameters, ParametersError};
use super::quote::limit_price;
use super::rng::{PROBABILITY_ONE, Rng};
use super::schedule::{Appointment, CROSSES_PER_EXECUTION, Content, Occasion, Part, Phase, SHARE_ONE, Schedule};
use super::tape::{Imbalance, Print, Tape};
use tickcore_book::Side;
use tickcore_feed::protocol::itch50::{Alpha, Mpid};

/// Changes whenever the same parameters give other bytes than before.
pub const GENERATOR_VERSION: u32 = 1;

/// Messages that [`Generator::next_chunk`] makes at a time; the last chunk has fewer.
pub const CHUNK_MESSAGES: u64 = 4_096;

/// Share of adds that name their participant.
const ATTRIBUTED_PROBABILITY: u32 = PROBABILITY_ONE / 60;

/// Share of adds that are of the same instrument as the add before.
const SAME_INSTRUMENT_PROBABILITY: u32 = PROBABILITY_ONE / 4;

/// Share of deletes that go to recent orders; the others go to any.
const RECENT_DELETE_PROBABILITY: u32 = PROBABILITY_ONE * 13 / 16;

/// Share of executions that take an order whole.
const WHOLE_EXECUTION_PROBABILITY: u32 = PROBABILITY_ONE * 13 / 20;

/// Share of replaces that keep the price, and that keep the shares.
const SAME_PRICE_PROBABILITY: u32 = PROBABILITY_ONE / 4;
const SAME_SHARES_PROBABILITY: u32 = PROBABILITY_ONE / 2;

/// Orders that one aggressor takes in a row, at most, beyond the first.
const SWEEP_MAX: u32 = 6;

/// Draws of an instrument, or of an order, that fits what is to be done.
const FITTING_DRAWS_MAX: u32 = 8;

/// How strongly adds and deletes are steered: the live orders may be off by about this share of the peak.
const STEERING_PARTS: i64 = 128;
const STEERING_MIN: i64 = 16;

/// Adds are never less likely than this beside deletes, nor deletes beside adds.
const STEERING_PROBABILITY_MIN: i64 = PROBABILITY_ONE as i64 / 64;

/// First numbers of the day.
const REFERENCE_FIRST: u64 = 1_000;
const MATCH_NUMBER_FIRST: u64 = 10_000;

/// How often an order number is held back, and how often a held one is used.
const HOLD_BACK_PROBABILITY: u32 = PROBABILITY_ONE / 256;
const USE_HELD_PROBABILITY: u32 = PROBABILITY_ONE / 32;

/// What the index of the circuit breaker closed at, as Price(8).
const INDEX_CLOSE: u64 = 3_250 * 100_000_000;

/// Between the announcement of a quoting period and its beginning.
const IPO_NOTICE_SECONDS: u32 = 600;

/// Mean size of a framed message, rounded up.
const MESSAGE_BYTES_USUAL: usize = 31;

/// Made-up participants.
const PARTICIPANTS: [&[u8; 4]; 8] = [b"AAMM", b"BBMM", b"CCMM", b"DDMM", b"EEMM", b"FFMM", b"GGMM", b"HHMM"];

/// Numbers of orders: rising with gaps, a few late.
#[derive(Clone, Debug)]
struct References {
    next: u64,
    held: Option<u64>,
}

impl References {
    #[inline]
    fn take(&mut self, rng: &mut Rng) -> u64 {
        match self.held {
            None if rng.chance(HOLD_BACK_PROBABILITY) => {
                self.held = Some(self.next);
                self.next += 1;
            }
            Some(late) if rng.chance(USE_HELD_PROBABILITY) => {
                self.held = None;
                return late;
            }
            _ => {}
        }
        let reference = self.next;
        self.next += match rng.below(16) {
            0..=11 => 1,
            12..=14 => u64::from(rng.between(2, 4)),
            _ => u64::from(rng.between(5, 16)),
        };
        reference
    }
}

/// An aggressor that goes on executing.
#[derive(Clone, Copy, Debug)]
struct Sweep {
    index: u16,
    side: Side,
    orders_left: u32,
}

/// Makes a day, message by message.
///
/// Memory: about 40 bytes per live order at peak, 12 per level and 100 per instrument; none for the file. Cost: about a
/// quarter of a microsecond per message.
#[derive(Clone, Debug)]
pub struct Generator {
    messages: u64,
    messages_made: u64,
    live_orders_target: i64,
    rng: Rng,
    clock: Clock,
    activity: Activity,
    instruments: Box<[Instrument]>,
    market: Market,
    references: References,
    match_number: u64,
    /// The instrument and the match number of the last trade.
    last_trade: (u16, u64),
    schedule: Schedule,
    part_position: usize,
    part_messages_made: u64,
    appointments_kept: usize,
    /// The next instrument by rank in a cross, and whether its execution is done.
    cross: (u64, bool),
    sweep: Option<Sweep>,
    last_added: u16,
}

impl Generator {
    /// A generator at the beginning of its day. Cost: linear in instruments and live orders.
    ///
    /// # Errors
    /// If [`Parameters::check`] finds that there can be no such day.
    pub fn new(parameters: Parameters) -> Result<Self, ParametersError> {
        parameters.check()?;
        let instruments = parameters.instruments as u16;
        let mut rng = Rng::new(parameters.seed);
        let activity = Activity::new(instruments, &mut rng);
        let mut ranks = vec![0; usize::from(instruments)];
        for (rank, &index) in (0..instruments).zip(activity.ranked()) {
            ranks[usize::from(index)] = rank;
        }
        let live_orders_target = parameters.live_orders_target();
        let mut generator = Self {
            messages: parameters.messages,
            messages_made: 0,
            live_orders_target: live_orders_target as i64,
            clock: Clock::new(),
            instruments: (0..instruments)
                .map(|index| Instrument::new(index, ranks[usize::from(index)], instruments, &mut rng))
                .collect(),
            market: Market::new(instruments, live_orders_target as usize),
            references: References { next: REFERENCE_FIRST, held: None },
            match_number: MATCH_NUMBER_FIRST,
            last_trade: (0, 0),
            schedule: Schedule::new(parameters.messages, instruments, &mut rng),
            part_position: 0,
            part_messages_made: 0,
            appointments_kept: 0,
            cross: (0, false),
            sweep: None,
            last_added: activity.ranked()[0],
            activity,
            rng,
        };
        generator.begin_part();
        Ok(generator)
    }

    /// Messages of the whole day.
    #[must_use]
    pub fn messages(&self) -> u64 {
        self.messages
    }

    /// Messages made so far.
    #[must_use]
    pub fn messages_made(&self) -> u64 {
        self.messages_made
    }

    /// Orders that are live after the messages made so far.
    #[must_use]
    pub fn live_orders(&self) -> usize {
        self.market.live_orders()
    }

    /// Appends the next [`CHUNK_MESSAGES`] messages to `file`, each with its length before it. Returns false, and
    /// appends nothing, when the day is over.
    pub fn next_chunk(&mut self, file: &mut Vec<u8>) -> bool {
        let chunk = CHUNK_MESSAGES.min(self.messages - self.messages_made);
        for _ in 0..chunk {
            self.next_message(file);
        }
        chunk > 0
    }

    /// Appends the next message. The day must not be over.
    #[inline]
    fn next_message(&mut self, file: &mut Vec<u8>) {
        let part = self.schedule.parts[self.part_position];
        match part.content {
            Content::Flow(phase, live_share) => self.flow(file, &part, phase, live_share),
            Content::SystemEvent(event_code) => Tape::new(file, part.start_ns).system_event(event_code),
            Content::DeclineLevels => Tape::new(file, part.start_ns).decline_levels(INDEX_CLOSE),
            Content::Cross(cross_type) => self.cross(file, cross_type),
            Content::Directory | Content::TradingAction | Content::RegSho => {
                let time_ns = self.clock.tick(&mut self.rng);
                let instrument = &self.instruments[self.part_messages_made as usize];
                let mut tape = Tape::new(file, time_ns);
                match part.content {
                    Content::Directory => tape.directory(instrument),
                    Content::TradingAction => tape.trading_action(instrument, b'T', ""),
                    _ => tape.reg_sho(instrument, if self.rng.chance(PROBABILITY_ONE / 64) { b'2' } else { b'0' }),
                }
            }
            Content::ParticipantPosition => {
                let time_ns = self.clock.tick(&mut self.rng);
                let index = self.activity.ranked()[self.part_messages_made as usize];
                let mpid = self.participant();
                Tape::new(file, time_ns).participant_position(&self.instruments[usize::from(index)], mpid);
            }
        }
        self.messages_made += 1;
        self.part_messages_made += 1;
        if self.part_messages_made == part.messages {
            self.part_position += 1;
            self.begin_part();
        }
    }

    /// Begins the next part that has messages, if the day is not over.
    fn begin_part(&mut self) {
        while let Some(part) = self.schedule.parts.get(self.part_position) {
            if part.messages > 0 {
                self.clock.begin(part.start_ns, part.end_ns, part.messages);
                (self.part_messages_made, self.cross, self.sweep) = (0, (0, false), None);
                return;
            }
            self.part_position += 1;
        }
    }

    /// A message of the flow of orders.
    #[inline]
    fn flow(&mut self, file: &mut Vec<u8>, part: &Part, phase: &Phase, live_share: u32) {
        if let Some(&appointment) = self.schedule.appointments.get(self.appointments_kept)
            && appointment.due <= self.messages_made
        {
            self.appointments_kept += 1;
            return self.keep_appointment(file, appointment);
        }
        if let Some(sweep) = self.sweep.take()
            && self.go_on_sweeping(file, sweep)
        {
            return;
        }
        let time_ns = self.clock.tick(&mut self.rng);
        let mut tape = Tape::new(file, time_ns);
        let mut draw = self.rng.below(SHARE_ONE);
        let mut falls_to = |share: u32| {
            let falls = draw < share;
            draw = draw.wrapping_sub(share);
            falls
        };
        let is_done = if falls_to(phase.execute) {
            self.begin_sweep(&mut tape)
        } else if falls_to(phase.execute_with_price) {
            self.execute_with_price(&mut tape)
        } else if falls_to(phase.cancel) {
            self.cancel(&mut tape)
        } else if falls_to(phase.replace) {
            self.replace(&mut tape)
        } else if falls_to(phase.trade) {
            self.trade(&mut tape);
            true
        } else if falls_to(phase.imbalance) {
            self.imbalance(&mut tape, phase.cross_type);
            true
        } else {
            false
        };
        if is_done {
            return;
        }
        let adds = phase.takes_orders && {
            let probability = self.add_probability(part, phase, live_share);
            self.rng.chance(probability)
        };
        if adds || !self.delete(&mut tape) {
            self.add(&mut tape);
        }
    }

    /// How likely an add is, and not a delete, so that live orders become what the phase aims at.
    #[inline]
    fn add_probability(&self, part: &Part, phase: &Phase, live_share: u32) -> u32 {
        let (from, to) = (i64::from(live_share), i64::from(phase.live_at_end));
        let share_now = from + (to - from) * self.part_messages_made as i64 / part.messages as i64;
        let lacking = self.live_orders_target * share_now / i64::from(SHARE_ONE) - self.market.live_orders() as i64;
        let window = self.live_orders_target / STEERING_PARTS + STEERING_MIN;
        let whole = i64::from(PROBABILITY_ONE);
        let probability = whole / 2 + lacking * (whole / 2) / window;
        probability.clamp(STEERING_PROBABILITY_MIN, whole - STEERING_PROBABILITY_MIN) as u32
    }

    fn participant(&mut self) -> Mpid {
        let position = self.rng.below(PARTICIPANTS.len() as u32);
        Alpha(*PARTICIPANTS[position as usize])
    }

    #[inline]
    fn side(&mut self) -> Side {
        if self.rng.chance(PROBABILITY_ONE / 2) { Side::Bid } else { Side::Ask }
    }

    #[inline]
    fn next_match_number(&mut self, index: u16) -> u64 {
        self.last_trade = (index, self.match_number);
        self.match_number += 1;
        self.last_trade.1
    }

    #[inline]
    fn add(&mut self, tape: &mut Tape<'_>) {
        if !self.rng.chance(SAME_INSTRUMENT_PROBABILITY) {
            self.last_added = self.activity.draw(&mut self.rng);
        }
        let index = self.last_added;
        let side = self.side();
        let instrument = &self.instruments[usize::from(index)];
        let order = NewOrder {
            reference: self.references.take(&mut self.rng),
            price: limit_price(&self.market, instrument, side, &mut self.rng),
            shares: instrument.order_shares(&mut self.rng),
            index,
            side,
        };
        self.market.add(order);
        let mpid = if self.rng.chance(ATTRIBUTED_PROBABILITY) { Some(self.participant()) } else { None };
        tape.add(&self.instruments[usize::from(index)], &order, mpid);
    }

    /// False when there is no order.
    #[inline]
    fn delete(&mut self, tape: &mut Tape<'_>) -> bool {
        let slot = if self.rng.chance(RECENT_DELETE_PROBABILITY) {
            self.market.recent_order(&mut self.rng)
        } else {
            self.market.any_order(&mut self.rng)
        };
        let Some(slot) = slot else { return false };
        let order = self.market.order(slot);
        tape.deleted(order.index + 1, order.reference);
        self.market.remove(slot);
        true
    }

    /// False when no order of more than one share was drawn.
    fn cancel(&mut self, tape: &mut Tape<'_>) -> bool {
        for _ in 0..FITTING_DRAWS_MAX {
            let Some(slot) = self.market.recent_order(&mut self.rng) else { return false };
            let order = self.market.order(slot);
            let (locate, reference, left) = (order.index + 1, order.reference, order.shares);
            if left > 1 {
                let shares = self.part_of(left, self.instruments[usize::from(locate - 1)].round_lot);
                tape.cancelled(locate, reference, shares);
                self.market.reduce(slot, shares);
                return true;
            }
        }
        false
    }

    /// Fewer than `shares`, which are more than one; whole round lots where possible.
    #[inline]
    fn part_of(&mut self, shares: u32, round_lot: u32) -> u32 {
        let lots = (shares - 1) / round_lot;
        if lots > 0 { round_lot * self.rng.between(1, lots) } else { self.rng.between(1, shares - 1) }
    }

    /// False when there is no order.
    fn replace(&mut self, tape: &mut Tape<'_>) -> bool {
        let Some(slot) = self.market.recent_order(&mut self.rng) else { return false };
        let old = *self.market.order(slot);
        let instrument = &self.instruments[usize::from(old.index)];
        let price = if self.rng.chance(SAME_PRICE_PROBABILITY) {
            old.price
        } else {
            limit_price(&self.market, instrument, old.side, &mut self.rng)
        };
        let shares =
            if self.rng.chance(SAME_SHARES_PROBABILITY) { old.shares } else { instrument.order_shares(&mut self.rng) };
        let reference = self.references.take(&mut self.rng);
        let new = NewOrder { reference, price, shares, index: old.index, side: old.side };
        self.market.remove(slot);
        self.market.add(new);
        tape.replaced(old.index + 1, old.reference, &new);
        true
    }

    /// A random order that would trade next, of an instrument that is trading.
    fn front_order(&mut self) -> Option<Slot> {
        for _ in 0..FITTING_DRAWS_MAX {
            let index = self.activity.draw(&mut self.rng);
            let side = self.side();
            if !self.instruments[usize::from(index)].is_halted
                && let Some(slot) = self.market.front(index, side)
            {
                return Some(slot);
            }
        }
        None
    }

    /// False when there is no order to execute.
    #[inline]
    fn begin_sweep(&mut self, tape: &mut Tape<'_>) -> bool {
        let Some(slot) = self.front_order() else { return false };
        let orders_left = self.rng.runs_of_heads().min(SWEEP_MAX);
        self.execute(tape, slot, orders_left);
        true
    }

    /// False, and nothing done, when the side has nothing left or trading stopped.
    fn go_on_sweeping(&mut self, file: &mut Vec<u8>, sweep: Sweep) -> bool {
        let Sweep { index, side, orders_left } = sweep;
        if self.instruments[usize::from(index)].is_halted {
            return false;
        }
        let Some(slot) = self.market.front(index, side) else { return false };
        let time_ns = self.clock.stand_still();
        self.execute(&mut Tape::new(file, time_ns), slot, orders_left - 1);
        true
    }

    /// Executes an order, whole if the aggressor goes on to `orders_left` more.
    fn execute(&mut self, tape: &mut Tape<'_>, slot: Slot, orders_left: u32) {
        let order = *self.market.order(slot);
        let instrument = &mut self.instruments[usize::from(order.index)];
        instrument.last_price = order.price;
        let round_lot = instrument.round_lot;
        let is_whole = orders_left > 0 || order.shares == 1 || self.rng.chance(WHOLE_EXECUTION_PROBABILITY);
        let shares = if is_whole { order.shares } else { self.part_of(order.shares, round_lot) };
        let match_number = self.next_match_number(order.index);
        tape.executed(order.index + 1, order.reference, shares, match_number);
        self.market.reduce(slot, shares);
        if orders_left > 0 {
            self.sweep = Some(Sweep { index: order.index, side: order.side, orders_left });
        }
    }

    /// Executes a whole order half a tick better for it than its price. False when there is no order to execute.
    fn execute_with_price(&mut self, tape: &mut Tape<'_>) -> bool {
        let Some(slot) = self.front_order() else { return false };
        let order = *self.market.order(slot);
        let half_tick = self.instruments[usize::from(order.index)].tick / 2;
        let price = match order.side {
            Side::Bid => order.price - half_tick,
            Side::Ask => order.price + half_tick,
        };
        let match_number = self.next_match_number(order.index);
        let print = Print { price, is_printable: true };
        tape.executed_with_price(order.index + 1, &order, order.shares, match_number, print);
        self.market.reduce(slot, order.shares);
        true
    }

    /// A trade with an order that was not displayed, in the middle of the spread.
    fn trade(&mut self, tape: &mut Tape<'_>) {
        let index = self.activity.draw(&mut self.rng);
        let match_number = self.next_match_number(index);
        let instrument = &self.instruments[usize::from(index)];
        let price = match (self.market.best_price(index, Side::Bid), self.market.best_price(index, Side::Ask)) {
            (Some(bid), Some(ask)) => bid + (ask - bid) / 2,
            _ => instrument.last_price,
        };
        let shares = instrument.order_shares(&mut self.rng);
        tape.trade(instrument, shares, price, match_number);
    }

    fn imbalance(&mut self, tape: &mut Tape<'_>, cross_type: u8) {
        let index = self.activity.draw(&mut self.rng);
        self.imbalance_of(tape, index, cross_type);
    }

    fn imbalance_of(&mut self, tape: &mut Tape<'_>, index: u16, cross_type: u8) {
        let instrument = &self.instruments[usize::from(index)];
        let direction = [b'B', b'S', b'N'][self.rng.below(3) as usize];
        let imbalance = Imbalance {
            paired_shares: u64::from(self.rng.log_uniform(20)),
            imbalance_shares: if direction == b'N' { 0 } else { 1 + u64::from(self.rng.log_uniform(18)) },
            direction,
            price: instrument.last_price,
            cross_type,
        };
        tape.imbalance(instrument, &imbalance);
    }

    /// A message of an auction: instruments by rank, a `Q` each, for some a `C` of a displayed order before it (an `I`
    /// when there is none).
    fn cross(&mut self, file: &mut Vec<u8>, cross_type: u8) {
        let time_ns = self.clock.tick(&mut self.rng);
        let mut tape = Tape::new(file, time_ns);
        let (rank, is_executed) = self.cross;
        let index = self.activity.ranked()[rank as usize];
        if rank.is_multiple_of(CROSSES_PER_EXECUTION) && !is_executed {
            self.cross.1 = true;
            let side = self.side();
            match self.market.front(index, side) {
                Some(slot) => self.execute_in_cross(&mut tape, slot),
                None => self.imbalance_of(&mut tape, index, cross_type),
            }
        } else {
            self.cross = (rank + 1, false);
            let shares = u64::from(self.rng.log_uniform(20));
            let match_number = self.next_match_number(index);
            tape.cross_trade(&self.instruments[usize::from(index)], shares, match_number, cross_type);
        }
    }

    fn execute_in_cross(&mut self, tape: &mut Tape<'_>, slot: Slot) {
        let order = *self.market.order(slot);
        self.instruments[usize::from(order.index)].last_price = order.price;
        let match_number = self.next_match_number(order.index);
        let print = Print { price: order.price, is_printable: false };
        tape.executed_with_price(order.index + 1, &order, order.shares, match_number, print);
        self.market.reduce(slot, order.shares);
    }

    /// Writes the message of an occasion and does what it says.
    fn keep_appointment(&mut self, file: &mut Vec<u8>, appointment: Appointment) {
        let time_ns = self.clock.tick(&mut self.rng);
        let mpid = self.participant();
        let interest = [b'B', b'S', b'A', b'N'][self.rng.below(4) as usize];
        let index = self.activity.ranked()[usize::from(appointment.rank)];
        let instrument = &mut self.instruments[usize::from(index)];
        let mut tape = Tape::new(file, time_ns);
        match appointment.occasion {
            Occasion::Pause => {
                instrument.is_halted = true;
                tape.trading_action(instrument, b'P', "LUDP");
            }
            Occasion::Collar => tape.auction_collar(instrument),
            Occasion::QuotationOnly => tape.trading_action(instrument, b'Q', "LUDP"),
            Occasion::Resume => {
                instrument.is_halted = false;
                tape.trading_action(instrument, b'T', "");
            }
            Occasion::OperationalHalt => {
                instrument.is_halted = true;
                tape.operational_halt(instrument, b'H');
            }
            Occasion::OperationalResume => {
                instrument.is_halted = false;
                tape.operational_halt(instrument, b'T');
            }
            Occasion::ShortSaleRestriction => tape.reg_sho(instrument, b'1'),
            Occasion::ParticipantPosition => tape.participant_position(instrument, mpid),
            Occasion::IpoQuotingPeriod => {
                tape.ipo_quoting_period(instrument, (time_ns / 1_000_000_000) as u32 + IPO_NOTICE_SECONDS);
            }
            Occasion::DirectListing => tape.direct_listing(instrument),
            // The opening auction comes before every occasion, so there is a trade to break.
            Occasion::BrokenTrade => tape.broken_trade(self.last_trade.0 + 1, self.last_trade.1),
            Occasion::RetailInterest => tape.retail_interest(instrument, interest),
            Occasion::BreachedLevel => tape.breached_level(b'1'),
        }
    }
}

/// The whole day in memory, about 31 bytes per message: for tests and benchmarks.
///
/// # Errors
/// If [`Parameters::check`] finds that there can be no such day.
pub fn generate_to_vec(parameters: Parameters) -> Result<Vec<u8>, ParametersError> {
    let mut generator = Generator::new(parameters)?;
    let mut file = Vec::with_capacity(parameters.messages as usize * MESSAGE_BYTES_USUAL);
    while generator.next_chunk(&mut file) {}
    Ok(file)
}
