package ratelimit

// Turns is a queue that gives every member its turn: who waits once is not behind all who wait of a member that waits a
// hundred times. Within a member the order is that of coming. It is not safe for several goroutines at once; the zero
// value is empty.
type Turns[M comparable, T any] struct {
	queues map[M][]T
	ring   []M // members that wait, the next one first
	n      int
}

// Push puts one more behind those of its member. A member that did not wait comes behind all others.
func (t *Turns[M, T]) Push(member M, v T) {
	if t.queues == nil {
		t.queues = map[M][]T{}
	}
	if len(t.queues[member]) == 0 {
		t.ring = append(t.ring, member)
	}
	t.queues[member] = append(t.queues[member], v)
	t.n++
}

// Pop takes the next one; false when nobody waits.
func (t *Turns[M, T]) Pop() (v T, ok bool) {
	if len(t.ring) == 0 {
		return v, false
	}
	member := t.ring[0]
	t.ring = t.ring[1:]
	q := t.queues[member]
	v = q[0]
	if len(q) == 1 {
		delete(t.queues, member)
	} else {
		t.queues[member] = q[1:]
		t.ring = append(t.ring, member)
	}
	t.n--
	return v, true
}

// Len is how many wait, and Members of how many members.
func (t *Turns[M, T]) Len() int { return t.n }

// Members is how many members have somebody waiting.
func (t *Turns[M, T]) Members() int { return len(t.ring) }

// Before is how many turns pass before one that a member would push now has its own.
func (t *Turns[M, T]) Before(member M) int {
	own := len(t.queues[member])
	n := own
	for other, q := range t.queues {
		if other != member {
			n += min(len(q), own+1)
		}
	}
	return n
}
