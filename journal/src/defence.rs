//! The defences that tests take out one at a time: a check that is never missed when it is gone is worth nothing.
//!
//! In the product every defence stands, at compile time; the switch exists in this package's unit tests alone.

/// Something that keeps the journal honest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Defence {
    /// The checksum over a frame's records is compared.
    PayloadChecksum,
    /// The checksum over a header or footer is compared.
    HeaderChecksum,
    /// A frame says which frame it follows, and that is compared.
    Chain,
    /// `durable` moves only when a sync has succeeded.
    DurableAfterSync,
    /// Nor does that of outputs move further than that sync covers.
    OutputsCovered,
    /// A frame is written through only where everything before it is durable.
    ThroughBehindDurable,
    /// `written` stops before the first write that is not done.
    WrittenInOrder,
    /// After a failure nothing is submitted and no watermark moves.
    Poison,
    /// A frame comes into a segment only after the segment's header is durable.
    HeaderBeforeFrames,
    /// A new file's name is made durable before the file is used.
    NameBeforeUse,
    /// A footer is written only when all frames of its segment are durable.
    FooterAfterFrames,
    /// What stands behind a bad frame can show that it was durable.
    DurableClaims,
    /// It can show so of a frame of any stream, and not of inputs alone.
    DurablePlaces,
    /// A segment has to go on where the outputs of the one before ended, and not the inputs alone.
    OutputsGoOn,
    /// Recovery removes the last file first.
    LastFileFirst,
    /// Recovery makes durable that files are gone which a recovery before it removed.
    NamesBeforeSeal,
    /// Recovery makes the footer durable before it cuts the file.
    FooterBeforeCut,
    /// A short write is gone on with.
    ShortWrites,
    /// It is durable that the journal begins behind a segment before that goes.
    ReleaseBeforeRemoval,
    /// Repair seals before it puts later files aside.
    SealBeforeAside,
    /// Repair keeps a copy of what it cuts.
    CopyBeforeCut,
    /// That copy is durable before the segment is cut.
    DurableCopyBeforeCut,
    /// A compacted segment is durable before the original goes.
    CopyBeforeRemoval,
    /// What was packed is the segment and not what retention made of its file.
    PackedIsSegment,
    /// Recovery leaves the files of who compacts alone.
    CompactorAlone,
    /// Recovery looks at the disk and not at what a failed sync left in the cache.
    DiskNotCache,
    /// A checkpoint is durable before it has its name.
    CheckpointBeforeName,
    /// A checkpoint's name is durable before anybody relies on it.
    CheckpointName,
    /// The checksum over a checkpoint's state is compared.
    CheckpointChecksum,
    /// A checkpoint can show that what is missing was durable.
    CheckpointClaims,
    /// Retention keeps the segments that go on from the checkpoints.
    KeptForCheckpoint,
}

#[cfg(test)]
thread_local! {
    static TAKEN_OUT: core::cell::Cell<Option<Defence>> = const { core::cell::Cell::new(None) };
}

/// Whether a defence is in place: always, but for tests.
#[inline(always)]
pub(crate) fn stands(defence: Defence) -> bool {
    #[cfg(test)]
    {
        TAKEN_OUT.get() != Some(defence)
    }
    #[cfg(not(test))]
    {
        let _ = defence;
        true
    }
}

/// Runs `action` without one of the defences.
#[cfg(test)]
pub(crate) fn without<T>(defence: Option<Defence>, action: impl FnOnce() -> T) -> T {
    struct Restore;
    impl Drop for Restore {
        fn drop(&mut self) {
            TAKEN_OUT.set(None);
        }
    }
    TAKEN_OUT.set(defence);
    let _restore = Restore;
    action()
}
