//! Nasdaq TotalView-ITCH 5.0: layouts, encoder and decoder of its messages, none of which does I/O.

mod decode;
mod encode;
mod message;
mod order_shape;

pub use decode::{Decoded, Decoder, PUBLISHER, SkipReason};
pub use encode::append_message;
pub use message::{
    AddOrder, AddOrderMpid, Alpha, BrokenTrade, CrossTrade, DirectListing, HEADER_LENGTH, Header, IpoQuotingPeriod,
    LENGTH_BY_TYPE, LuldAuctionCollar, MarketParticipantPosition, Message, Mpid, MwcbDeclineLevel, MwcbStatus,
    NetOrderImbalance, OperationalHalt, OrderCancel, OrderDelete, OrderExecuted, OrderExecutedWithPrice, OrderReplace,
    PRICE4_SCALE, RegShoRestriction, RetailPriceImprovement, Stock, StockDirectory, StockTradingAction, SystemEvent,
    TYPES, Timestamp, Trade, U16, U32, U64, length_of, type_name,
};
