package postgres

// EndsWithParent tells tests whether this system ends a server whose owner was killed.
const EndsWithParent = endsWithParent
