package events

// Appended is an event as the process that appended it still has it. It is shared by all who read the log there: nobody changes it.
type Appended struct {
	Event *Event
	// Document is the order's document after the event, where it is the order's last one in its transaction; nil otherwise.
	Document []byte
}
