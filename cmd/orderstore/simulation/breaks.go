package simulation

// What a run may leave out.
const (
	BreakExpectation       Break = "the broker takes every message, whatever sequence it expects"
	BreakCompareAndSet     Break = "the head is moved wherever it is"
	BreakUnique            Break = "references and keys may be stored twice"
	BreakCheckpointFirst   Break = "the checkpoint is stored before what it stands for"
	BreakViewCompareAndSet Break = "checkpoints are moved wherever they are"
)
