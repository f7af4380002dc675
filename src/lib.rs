//! Full-depth order books on pinned cores, fed through a lock-free ring, journaled with io_uring, replayed bit for bit.
