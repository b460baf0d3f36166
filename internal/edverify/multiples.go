package edverify

import (
	"encoding/binary"
	"sync"

	"filippo.io/edwards25519"
)

// A scalar is written as a sum of d·2^p with odd d from −15 to 15, at most one in five places p that follow each other. Multiples of a
// point are kept for each 32nd place, so that 32 rounds with a doubling in between take in all of them. More tables would spare
// doublings and lose the time again while they are fetched into the processor's near memory, as wider ones do.
const (
	places = 256
	rounds = 32
	width  = 5
	odd    = 1 << (width - 2)
)

// multiples holds P, 3P, … 15P for each 32nd place.
type multiples [places / rounds][odd]edwards25519.Point

func multiplesOf(p *edwards25519.Point) *multiples {
	at, twice := new(edwards25519.Point).Set(p), new(edwards25519.Point)
	m := new(multiples)
	for i := range m {
		twice.Double(at)
		m[i][0].Set(at)
		for j := 1; j < odd; j++ {
			m[i][j].Add(&m[i][j-1], twice)
		}
		for range rounds {
			at.Double(at)
		}
	}
	return m
}

// base holds those of the base point.
var base = sync.OnceValue(func() *multiples { return multiplesOf(edwards25519.NewGeneratorPoint()) })

// sum is x·P + y·B for the point P of m and the base point B.
func (m *multiples) sum(x, y *edwards25519.Scalar) *edwards25519.Point {
	b, dx, dy := base(), sparse(x.Bytes()), sparse(y.Bytes())
	p := edwards25519.NewIdentityPoint()
	for round := rounds - 1; round >= 0; round-- {
		if round < rounds-1 {
			p.Double(p)
		}
		for i := range m {
			addOdd(p, &m[i], dx[rounds*i+round])
			addOdd(p, &b[i], dy[rounds*i+round])
		}
	}
	return p
}

// addOdd adds the d-fold of a table's point; 0 adds nothing.
func addOdd(p *edwards25519.Point, table *[odd]edwards25519.Point, d int8) {
	switch {
	case d > 0:
		p.Add(p, &table[d/2])
	case d < 0:
		p.Subtract(p, &table[-d/2])
	}
}

// sparse writes a scalar below 2^253: d[p] is the factor of 2^p.
func sparse(b []byte) (d [places]int8) {
	var words [places/64 + 1]uint64
	for i := range places / 64 {
		words[i] = binary.LittleEndian.Uint64(b[8*i:])
	}
	carry := uint64(0)
	for p := 0; p < places; {
		// Shifting by 64 gives 0, as is wanted at the beginning of a word.
		window := (words[p/64]>>(p%64)|words[p/64+1]<<(64-p%64))&(1<<width-1) + carry
		if window%2 == 0 {
			p++
			continue
		}
		d[p], carry = int8(window), 0
		if window > 2*odd {
			d[p], carry = int8(window)-1<<width, 1
		}
		p += width
	}
	return d
}
