package simulation

// What a run may leave out.
const (
	BreakExpectation       Break = "the broker takes every message, whatever sequence it expects"
	BreakCompareAndSet     Break = "the head is moved wherever it is"
	BreakUnique            Break = "references and keys may be stored twice"
	BreakCheckpointFirst   Break = "the checkpoint is stored before what it stands for"
	BreakViewCompareAndSet Break = "checkpoints are moved wherever they are"
	BreakCheckpointApart   Break = "the checkpoint is stored after what it stands for, by itself"
	BreakSkip              Break = "an event that does not get through is gone past"
	BreakAcknowledgeFirst  Break = "a commit is answered before it is there, and may get lost"
	BreakBytes             Break = "the broker keeps other bytes than it was sent"
	BreakStaleHead         Break = "the head is read from a standby that is behind"
)
