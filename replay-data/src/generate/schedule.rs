//! The order of the day: its parts one after the other, how many messages each has, and the rare events within.
//!
//! Everything is counted out before the first message is made, so that a day has exactly the messages that were asked
//! for. The shares of message types were set so that the whole day has the mix that is stated in
//! [the module's documentation](super); the balance of adds and deletes follows from the live orders that a phase aims
//! at.

use super::clock::time_of_day_ns;
use super::parameters::MESSAGES_MAX;
use super::rng::Rng;

/// Parts in one whole of a phase's shares.
pub(crate) const SHARE_ONE: u32 = 10_000;

/// A stretch of the day in which orders come and go.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Phase {
    pub(crate) start_ns: u64,
    pub(crate) end_ns: u64,
    /// Share of the day's flow of orders.
    pub(crate) share: u32,
    /// Live orders aimed at by the end, as a share of the peak.
    pub(crate) live_at_end: u32,
    /// Shares of what is drawn for the next message; what is left are adds and deletes.
    pub(crate) execute: u32,
    pub(crate) execute_with_price: u32,
    pub(crate) cancel: u32,
    pub(crate) replace: u32,
    pub(crate) trade: u32,
    pub(crate) imbalance: u32,
    /// Which auction imbalances are about.
    pub(crate) cross_type: u8,
    /// Whether orders may still come in.
    pub(crate) takes_orders: bool,
}

const MARKET_HOURS: Phase = Phase {
    start_ns: time_of_day_ns(9, 30),
    end_ns: time_of_day_ns(15, 30),
    share: 0,
    live_at_end: SHARE_ONE,
    execute: 185,
    execute_with_price: 9,
    cancel: 125,
    replace: 690,
    trade: 95,
    imbalance: 0,
    cross_type: b'C',
    takes_orders: true,
};

const QUIET_HOURS: Phase = Phase {
    start_ns: time_of_day_ns(4, 0),
    end_ns: time_of_day_ns(9, 25),
    share: 0,
    live_at_end: 0,
    execute: 30,
    execute_with_price: 1,
    cancel: 40,
    replace: 250,
    trade: 30,
    imbalance: 0,
    cross_type: b'O',
    takes_orders: true,
};

/// The phases, in the order of the day.
pub(crate) const PHASES: [Phase; 9] = [
    Phase { share: 700, live_at_end: 4_500, ..QUIET_HOURS },
    Phase {
        start_ns: time_of_day_ns(9, 25),
        end_ns: time_of_day_ns(9, 30),
        share: 200,
        live_at_end: 5_500,
        imbalance: 2_600,
        ..QUIET_HOURS
    },
    Phase { share: 1_600, end_ns: time_of_day_ns(10, 0), ..MARKET_HOURS },
    Phase { share: 2_800, start_ns: time_of_day_ns(10, 0), end_ns: time_of_day_ns(12, 0), ..MARKET_HOURS },
    Phase { share: 2_000, start_ns: time_of_day_ns(12, 0), end_ns: time_of_day_ns(14, 30), ..MARKET_HOURS },
    Phase { share: 1_150, start_ns: time_of_day_ns(14, 30), end_ns: time_of_day_ns(15, 50), ..MARKET_HOURS },
    Phase {
        share: 600,
        start_ns: time_of_day_ns(15, 50),
        end_ns: time_of_day_ns(16, 0),
        live_at_end: 9_000,
        imbalance: 1_750,
        ..MARKET_HOURS
    },
    Phase {
        share: 940,
        start_ns: time_of_day_ns(16, 0),
        end_ns: time_of_day_ns(20, 0),
        live_at_end: 800,
        cross_type: b'C',
        ..QUIET_HOURS
    },
    Phase {
        share: 10,
        start_ns: time_of_day_ns(20, 0),
        end_ns: time_of_day_ns(20, 5),
        live_at_end: 500,
        execute: 0,
        execute_with_price: 0,
        cancel: 0,
        replace: 0,
        trade: 0,
        imbalance: 0,
        cross_type: b'C',
        takes_orders: false,
    },
];

/// First and last phase of market hours.
const MARKET_HOURS_FIRST: usize = 2;
const MARKET_HOURS_LAST: usize = 6;

const _: () = {
    let (mut position, mut shares) = (0, 0);
    while position < PHASES.len() {
        let phase = &PHASES[position];
        shares += phase.share;
        assert!(phase.start_ns < phase.end_ns);
        assert!(position == 0 || PHASES[position - 1].end_ns == phase.start_ns);
        position += 1;
    }
    assert!(shares == SHARE_ONE);
    assert!(MESSAGES_MAX.checked_mul(SHARE_ONE as u64).is_some(), "shares of a day's messages fit 64 bits");
    assert!(PHASES[MARKET_HOURS_FIRST].start_ns == time_of_day_ns(9, 30));
    assert!(PHASES[MARKET_HOURS_LAST].end_ns == time_of_day_ns(16, 0));
};

/// Between a phase's beginning and its first order: room for the system event and the auction.
const SECTION_GAP_NS: u64 = 1_000_000_000;

/// An auction has one cross trade per so many messages of the day, and at most one of each instrument; there are as
/// many participant positions.
const MESSAGES_PER_CROSS: u64 = 1_000;

/// One cross trade in so many has an execution of a displayed order before it.
pub(crate) const CROSSES_PER_EXECUTION: u64 = 4;

/// Rounds of rare events: one per so many messages, within these bounds.
const MESSAGES_PER_ROUND: u64 = 500_000;
const ROUNDS_MAX: u64 = 64;

/// What a part of the day consists of.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Content {
    /// One system event.
    SystemEvent(u8),
    /// `R` of every instrument.
    Directory,
    /// `H` of every instrument.
    TradingAction,
    /// `Y` of every instrument.
    RegSho,
    /// `L` of the most active instruments.
    ParticipantPosition,
    /// `V`.
    DeclineLevels,
    /// `Q` of the most active instruments, some with a `C` before it.
    Cross(u8),
    /// Orders: a phase and the live orders aimed at when it begins.
    Flow(&'static Phase, u32),
}

/// A part of the day.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Part {
    pub(crate) content: Content,
    pub(crate) start_ns: u64,
    pub(crate) end_ns: u64,
    pub(crate) messages: u64,
}

/// Something that happens a few times a day.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Occasion {
    /// `H` P: a limit-up-limit-down pause begins.
    Pause,
    /// `J`: the collars of the auction that ends it.
    Collar,
    /// `H` Q: quotation only.
    QuotationOnly,
    /// `H` T: trading again.
    Resume,
    /// `h` H.
    OperationalHalt,
    /// `h` T.
    OperationalResume,
    /// `Y` 1.
    ShortSaleRestriction,
    /// `L`.
    ParticipantPosition,
    /// `K`.
    IpoQuotingPeriod,
    /// `O`.
    DirectListing,
    /// `N`.
    RetailInterest,
    /// `B` of a recent trade.
    BrokenTrade,
    /// `W` of level 1, late enough not to halt the market.
    BreachedLevel,
}

/// The occasions of a round: how far into market hours each comes (in 64ths), to which of the round's instruments.
const ROUND: [(u64, u8, Occasion); 14] = [
    (2, 0, Occasion::IpoQuotingPeriod),
    (3, 0, Occasion::DirectListing),
    (4, 0, Occasion::RetailInterest),
    (6, 1, Occasion::Pause),
    (8, 1, Occasion::Collar),
    (9, 1, Occasion::QuotationOnly),
    (10, 1, Occasion::Resume),
    (14, 2, Occasion::OperationalHalt),
    (15, 2, Occasion::OperationalResume),
    (18, 3, Occasion::ShortSaleRestriction),
    (20, 3, Occasion::ParticipantPosition),
    (22, 2, Occasion::RetailInterest),
    (25, 0, Occasion::BrokenTrade),
    (26, 3, Occasion::RetailInterest),
];

/// Instruments of a round.
const ROUND_INSTRUMENTS: u64 = 4;

/// A round begins within this many 64ths of market hours, so that its last occasion is still within them.
const ROUND_START_BOUND: u32 = 36;

/// An occasion, when it is due, and the instrument it is about.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Appointment {
    /// Messages of the day before it.
    pub(crate) due: u64,
    /// Place of the instrument in the ranking by activity.
    pub(crate) rank: u16,
    pub(crate) occasion: Occasion,
}

/// The day as it will be.
#[derive(Clone, Debug)]
pub(crate) struct Schedule {
    pub(crate) parts: Vec<Part>,
    /// By `due`.
    pub(crate) appointments: Vec<Appointment>,
}

/// Instruments that take part in the auctions of a day.
fn auctioned_instruments(messages: u64, instruments: u16) -> u64 {
    (messages / MESSAGES_PER_CROSS).clamp(1, u64::from(instruments))
}

impl Schedule {
    /// A day of exactly `messages`, of which the caller made sure that they are enough for the instruments.
    pub(crate) fn new(messages: u64, instruments: u16, rng: &mut Rng) -> Self {
        let each = u64::from(instruments);
        let auctioned = auctioned_instruments(messages, instruments);
        let crossed = auctioned + auctioned.div_ceil(CROSSES_PER_EXECUTION);

        let part = |content, start_ns, end_ns, messages| Part { content, start_ns, end_ns, messages };
        let event = |code, at_ns| part(Content::SystemEvent(code), at_ns, at_ns + 1, 1);
        let [system_start, market_start, market_end, system_end] =
            [time_of_day_ns(4, 0), time_of_day_ns(9, 30), time_of_day_ns(16, 0), time_of_day_ns(20, 0)];
        let before_flow = [
            event(b'O', time_of_day_ns(3, 4)),
            part(Content::Directory, time_of_day_ns(3, 5), time_of_day_ns(3, 6), each),
            part(Content::TradingAction, time_of_day_ns(3, 7), time_of_day_ns(3, 8), each),
            part(Content::RegSho, time_of_day_ns(3, 8), time_of_day_ns(3, 9), each),
            part(Content::ParticipantPosition, time_of_day_ns(3, 10), time_of_day_ns(3, 20), auctioned),
            event(b'S', system_start),
        ];
        let last = event(b'C', time_of_day_ns(20, 5));
        let fixed = before_flow.iter().map(|part| part.messages).sum::<u64>() + 1 + 2 * (1 + crossed) + 2;
        let flow = messages.checked_sub(fixed).expect("the caller made sure of enough messages");

        let mut parts = before_flow.to_vec();
        let (mut flow_done, mut share_done, mut live_share) = (0, 0, 0);
        for (number, phase) in PHASES.iter().enumerate() {
            share_done += u64::from(phase.share);
            let flow_until = flow * share_done / u64::from(SHARE_ONE);
            parts.push(part(
                Content::Flow(phase, live_share),
                phase.start_ns + SECTION_GAP_NS,
                phase.end_ns,
                flow_until - flow_done,
            ));
            (flow_done, live_share) = (flow_until, phase.live_at_end);
            if number == MARKET_HOURS_FIRST - 2 {
                parts.push(part(Content::DeclineLevels, phase.end_ns, phase.end_ns + 1, 1));
            } else if number == MARKET_HOURS_FIRST - 1 {
                parts.push(event(b'Q', market_start));
                parts.push(part(Content::Cross(b'O'), market_start + 1, market_start + SECTION_GAP_NS, crossed));
            } else if number == MARKET_HOURS_LAST {
                parts.push(event(b'M', market_end));
                parts.push(part(Content::Cross(b'C'), market_end + 1, market_end + SECTION_GAP_NS, crossed));
            } else if number == MARKET_HOURS_LAST + 1 {
                parts.push(event(b'E', system_end));
            }
        }
        parts.push(last);
        let appointments = appointments(&parts, messages, instruments, rng);
        Self { parts, appointments }
    }
}

fn appointments(parts: &[Part], messages: u64, instruments: u16, rng: &mut Rng) -> Vec<Appointment> {
    let is_market_hours = |part: &Part| {
        matches!(part.content, Content::Flow(phase, _)
            if phase.start_ns >= PHASES[MARKET_HOURS_FIRST].start_ns && phase.end_ns <= PHASES[MARKET_HOURS_LAST].end_ns)
    };
    let before: u64 = parts.iter().take_while(|part| !is_market_hours(part)).map(|part| part.messages).sum();
    let within: u64 = parts.iter().filter(|part| is_market_hours(part)).map(|part| part.messages).sum();
    let due = |sixty_fourths: u64| before + within / 64 * sixty_fourths;

    let rounds = (messages / MESSAGES_PER_ROUND).clamp(1, ROUNDS_MAX);
    let mut appointments = Vec::new();
    for round in 0..rounds {
        let start = u64::from(rng.below(ROUND_START_BOUND));
        // Every instrument of every round is another one, as far as there are enough.
        let rank = |which: u8| ((round * ROUND_INSTRUMENTS + u64::from(which)) % u64::from(instruments)) as u16;
        appointments.extend(ROUND.iter().map(|&(offset, which, occasion)| Appointment {
            due: due(start + offset),
            rank: rank(which),
            occasion,
        }));
    }
    appointments.push(Appointment { due: due(63), rank: 0, occasion: Occasion::BreachedLevel });
    appointments.sort_by_key(|appointment| appointment.due);
    appointments
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_schedule_has_exactly_the_messages_asked_for_and_its_parts_follow_each_other() {
        for (messages, instruments) in [(1_004, 1), (150_000, 200), (10_000_000, 8_000), (400_000_000, u16::MAX)] {
            let schedule = Schedule::new(messages, instruments, &mut Rng::new(1));
            assert_eq!(schedule.parts.iter().map(|part| part.messages).sum::<u64>(), messages);
            for pair in schedule.parts.windows(2) {
                assert!(pair[0].start_ns < pair[0].end_ns);
                assert!(pair[0].end_ns <= pair[1].start_ns + 1, "{:?} {:?}", pair[0], pair[1]);
            }
            assert!(schedule.appointments.is_sorted_by_key(|appointment| appointment.due));
            assert!(schedule.appointments.iter().all(|appointment| appointment.due < messages));
        }
    }
}
