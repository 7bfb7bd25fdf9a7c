// Package seeded names bugs that the programs make when they are built with the tag seededbugs and told to by ORDERSTORE_SEEDED_BUG: each
// breaks one promise on purpose, so that it is known that the fault tests notice. Without the tag nothing of it is left in a program.
package seeded

// Name names a bug.
type Name string

// The bugs, by where they are.
const (
	FsyncOff              Name = "fsync-off"
	AsyncCommit           Name = "async-commit"
	AckBeforeCommit       Name = "ack-before-commit"
	CommitDeadline        Name = "commit-deadline"
	PublishBeforeCommit   Name = "publish-before-commit"
	PositionsLost         Name = "positions-lost"
	DigestNotChained      Name = "digest-not-chained"
	GateRemoved           Name = "gate-removed"
	FactTwice             Name = "fact-twice"
	ConflictTaken         Name = "conflict-taken"
	VersionIgnored        Name = "version-ignored"
	ResultTwice           Name = "result-twice"
	RelayWithoutExpecting Name = "relay-without-expecting"
	RelayFromMemory       Name = "relay-from-memory"
	ScrubberBlind         Name = "scrubber-blind"
	CheckpointApart       Name = "checkpoint-apart"
	EventsSkipped         Name = "events-skipped"
	PositionIgnored       Name = "position-ignored"
	NotFoundEarly         Name = "not-found-early"
	CacheStale            Name = "cache-stale"
	TenantUnfiltered      Name = "tenant-unfiltered"
	NoticesUnfiltered     Name = "notices-unfiltered"
	SubjectsUnfiltered    Name = "subjects-unfiltered"
	ScannedAhead          Name = "scanned-ahead"
	ResumedLate           Name = "resumed-late"
	WebhookDoneEarly      Name = "webhook-done-early"
	WebhookMovedEarly     Name = "webhook-moved-early"
	StockTwice            Name = "stock-twice"
	StockHeld             Name = "stock-held"
	AuxiliaryTwice        Name = "auxiliary-twice"
)

// Bug is a bug and what it breaks.
type Bug struct {
	Name   Name
	Breaks string
}

// All lists the bugs.
func All() []Bug {
	return []Bug{
		{FsyncOff, "1: what Postgres commits is not flushed to the disk"},
		{AsyncCommit, "1: commits are acknowledged before they are on disk"},
		{AckBeforeCommit, "1: a round is answered before it is committed"},
		{CommitDeadline, "1: a commit that takes too long is answered as not stored"},
		{PublishBeforeCommit, "3: the relay is given events before they are committed"},
		{PositionsLost, "2: the positions of a round that was not stored are not given again"},
		{DigestNotChained, "2: the digests of a round do not follow from each other"},
		{GateRemoved, "1: what the standby lacks is told"},
		{FactTwice, "5: an adjustment that is sent again is applied again"},
		{ConflictTaken, "5: another order under a known reference is answered as the same"},
		{VersionIgnored, "1: a change for an older version is taken, and undoes a newer one"},
		{ResultTwice, "6: a result that is sent again is applied again"},
		{RelayWithoutExpecting, "3: messages do not say which sequence they follow"},
		{RelayFromMemory, "10: the relay goes on from where it remembers to have been"},
		{ScrubberBlind, "3: a message that differs from the log stays"},
		{CheckpointApart, "4: the checkpoint is committed before the view"},
		{EventsSkipped, "4: what could not be written to a view is left out"},
		{PositionIgnored, "7: a read does not wait for the position that it names"},
		{NotFoundEarly, "7: an order that the read side does not have yet is not found"},
		{CacheStale, "4: an order in memory outlives its change"},
		{TenantUnfiltered, "8: an order is shown to whoever knows its id"},
		{NoticesUnfiltered, "8: whoever listens hears everything"},
		{SubjectsUnfiltered, "8: a consumer on NATS has the subjects of all"},
		{ScannedAhead, "10: scanned_to is further than what was looked at"},
		{ResumedLate, "10: who comes back misses the next event"},
		{WebhookDoneEarly, "10: a webhook that was refused counts as delivered"},
		{WebhookMovedEarly, "10: a webhook's position is stored before what is up to it is delivered"},
		{StockTwice, "9: what is fulfilled is taken from stock twice"},
		{StockHeld, "9: what is cancelled stays reserved"},
		{AuxiliaryTwice, "9: an auxiliary system's position is moved after its work is committed"},
	}
}
