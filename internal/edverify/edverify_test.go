package edverify

import (
	"bytes"
	"crypto/ed25519"
	"crypto/sha512"
	"encoding/hex"
	"math/big"
	"slices"
	"sync"
	"testing"

	"filippo.io/edwards25519"
	"pgregory.net/rapid"
)

// order is the order of the base point, RFC 8032, section 5.1.
var order, _ = new(big.Int).SetString("7237005577332262213973186563042994240857116359379907606001950938285454250989", 10)

// scalarOf is n below the order.
func scalarOf(t rapid.TB, n *big.Int) *edwards25519.Scalar {
	s, err := new(edwards25519.Scalar).SetCanonicalBytes(little(n))
	if err != nil {
		t.Fatalf("%v is no scalar: %v", n, err)
	}
	return s
}

// little is a number in 32 bytes, the lowest first.
func little(n *big.Int) []byte {
	b := n.FillBytes(make([]byte, 32))
	slices.Reverse(b)
	return b
}

// small are encodings of the eight points whose order divides 8, and all other encodings that are taken for one of them.
func small() [][]byte {
	var out [][]byte
	for _, text := range []string{
		"0100000000000000000000000000000000000000000000000000000000000000",
		"ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
		"0000000000000000000000000000000000000000000000000000000000000000",
		"0000000000000000000000000000000000000000000000000000000000000080",
		"26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
		"26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc85",
		"c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
		"c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac03fa",
		// not reduced, or with a sign that zero does not have
		"0100000000000000000000000000000000000000000000000000000000000080",
		"ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
		"edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
		"edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
		"eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
		"eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
	} {
		b, err := hex.DecodeString(text)
		if err != nil {
			panic(err)
		}
		out = append(out, b)
	}
	return out
}

// both has a signature judged with a key's multiples and by the standard library, and fails where they differ.
func both(t rapid.TB, key, message, signature []byte) bool {
	t.Helper()
	want := ed25519.Verify(key, message, signature)
	keys := New(1)
	for n := range worthwhile + 1 { // with and without multiples
		if got := keys.Verify(key, message, signature); got != want {
			t.Fatalf("call %d says %v, crypto/ed25519 %v: key %x, message %x, signature %x", n, got, want, key, message, signature)
		}
	}
	return want
}

func TestSignaturesAreJudgedAsByTheStandardLibrary(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		private := ed25519.NewKeyFromSeed(rapid.SliceOfN(rapid.Byte(), 32, 32).Draw(t, "seed"))
		key := []byte(private.Public().(ed25519.PublicKey))
		message := rapid.SliceOfN(rapid.Byte(), 0, 200).Draw(t, "message")
		signature := ed25519.Sign(private, message)
		if !both(t, key, message, signature) {
			t.Fatal("a good signature is refused")
		}
		bit := rapid.IntRange(0, 32*8+64*8-1).Draw(t, "bit")
		key, signature = bytes.Clone(key), bytes.Clone(signature)
		if bit < 32*8 {
			key[bit/8] ^= 1 << (bit % 8)
		} else {
			signature[bit/8-32] ^= 1 << (bit % 8)
		}
		if both(t, key, message, signature) {
			t.Fatalf("bit %d does not count", bit)
		}
		both(t, rapid.SliceOfN(rapid.Byte(), 32, 32).Draw(t, "any key"), message, signature)
	})
}

// With points of small order many signatures fit that nobody made; which of them are taken is a matter of the checks' order.
func TestOddPointsAndScalarsAreJudgedAsByTheStandardLibrary(t *testing.T) {
	t.Parallel()
	one := big.NewInt(1)
	scalars := [][]byte{little(new(big.Int)), little(one), little(new(big.Int).Sub(order, one)), little(order), little(new(big.Int).Add(order, one)),
		bytes.Repeat([]byte{0xff}, 32)}
	taken := 0
	for _, key := range small() {
		for _, r := range small() {
			for _, s := range scalars {
				for n := range 8 { // so that the hash takes several remainders of 8
					if both(t, key, []byte{byte(n)}, slices.Concat(r, s)) {
						taken++
					}
				}
			}
		}
	}
	if taken == 0 {
		t.Error("none was taken, so nothing was compared but refusals")
	}
	// A key with a part of small order: what its owner signs fits for some messages only.
	for _, text := range small()[:8] {
		odd, err := new(edwards25519.Point).SetBytes(text)
		if err != nil {
			t.Fatal(err)
		}
		secret := scalarOf(t, big.NewInt(123456789))
		key := new(edwards25519.Point).ScalarBaseMult(secret)
		key.Add(key, odd)
		nonce := scalarOf(t, big.NewInt(987654321))
		r := new(edwards25519.Point).ScalarBaseMult(nonce).Bytes()
		for n := range 16 {
			message := []byte{byte(n)}
			sum := sha512.Sum512(slices.Concat(r, key.Bytes(), message))
			h, err := new(edwards25519.Scalar).SetUniformBytes(sum[:])
			if err != nil {
				t.Fatal(err)
			}
			both(t, key.Bytes(), message, slices.Concat(r, new(edwards25519.Scalar).MultiplyAdd(h, secret, nonce).Bytes()))
		}
	}
}

// The known answers are those of RFC 8032, section 7.1, tests 1 to 3.
func TestKnownAnswersOfTheRFC(t *testing.T) {
	t.Parallel()
	for _, c := range [][3]string{
		{"d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a", "",
			"e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b"},
		{"3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c", "72",
			"92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00"},
		{"fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025", "af82",
			"6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac18ff9b538d16f290ae67f760984dc6594a7c15e9716ed28dc027beceea1ec40a"},
	} {
		var parts [3][]byte
		for i, text := range c {
			var err error
			if parts[i], err = hex.DecodeString(text); err != nil {
				t.Fatal(err)
			}
		}
		if !both(t, parts[0], parts[1], parts[2]) {
			t.Errorf("%s is refused", c[2])
		}
	}
}

func TestWrongLengthsAreRefused(t *testing.T) {
	t.Parallel()
	public, private, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	keys, signature := New(1), ed25519.Sign(private, nil)
	for _, c := range []struct{ key, signature []byte }{{nil, signature}, {public[:31], signature}, {append(public[:32:32], 0), signature},
		{public, nil}, {public, signature[:63]}, {public, append(signature[:64:64], 0)}} {
		if keys.Verify(c.key, nil, c.signature) {
			t.Errorf("a key of %d bytes and a signature of %d are taken", len(c.key), len(c.signature))
		}
	}
}

func TestDigitsAddUpToTheScalar(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		n := number().Draw(t, "n")
		sum, last := new(big.Int), places
		d := sparse(little(n))
		for p := places - 1; p >= 0; p-- {
			sum.Lsh(sum, 1).Add(sum, big.NewInt(int64(d[p])))
			if d[p] == 0 {
				continue
			}
			if d[p]%2 == 0 || d[p] < -15 || d[p] > 15 || last-p < width && last < places {
				t.Fatalf("digit %d is %d, the one above it is at %d", p, d[p], last)
			}
			last = p
		}
		if sum.Cmp(n) != 0 {
			t.Fatalf("%v is written as %v", n, sum)
		}
	})
}

// number draws numbers below the order, also those with many equal digits, which are carried far.
func number() *rapid.Generator[*big.Int] {
	return rapid.Custom(func(t *rapid.T) *big.Int {
		var n *big.Int
		if rapid.Bool().Draw(t, "even digits") {
			n = new(big.Int).SetBytes(bytes.Repeat([]byte{rapid.SampledFrom([]byte{0x00, 0x0f, 0x55, 0x77, 0x7f, 0x80, 0x88, 0xaa, 0xff}).Draw(t, "digits")}, rapid.IntRange(0, 32).Draw(t, "many")))
			n.Add(n, big.NewInt(int64(rapid.IntRange(0, 300).Draw(t, "more"))))
		} else {
			n = new(big.Int).SetBytes(rapid.SliceOfN(rapid.Byte(), 32, 32).Draw(t, "bytes"))
		}
		if rapid.IntRange(0, 9).Draw(t, "near the order") == 0 {
			n.Sub(order, big.NewInt(int64(rapid.IntRange(1, 300).Draw(t, "below"))))
		}
		return n.Mod(n, order)
	})
}

func TestMultiplesAddUpToTheSum(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		point := new(edwards25519.Point).ScalarBaseMult(scalarOf(t, number().Draw(t, "point")))
		x, y := scalarOf(t, number().Draw(t, "x")), scalarOf(t, number().Draw(t, "y"))
		if multiplesOf(point).sum(x, y).Equal(new(edwards25519.Point).VarTimeDoubleScalarBaseMult(x, point, y)) != 1 {
			t.Fatal("the sum differs from the library's")
		}
	})
}

func TestMultiplesAreMadeOnceAndBounded(t *testing.T) {
	t.Parallel()
	const most = 4
	keys := New(most)
	type signer struct{ key, signature []byte }
	var signers []signer
	for range 20 {
		public, private, err := ed25519.GenerateKey(nil)
		if err != nil {
			t.Fatal(err)
		}
		signers = append(signers, signer{public, ed25519.Sign(private, []byte("m"))})
	}
	verify := func(s signer) {
		if !keys.Verify(s.key, []byte("m"), s.signature) {
			t.Error("a good signature is refused")
		}
	}
	hot := signers[0]
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			for range worthwhile {
				verify(hot)
			}
		})
	}
	all.Wait()
	e := keys.all[[32]byte(hot.key)]
	made := e.multiples.Load()
	if made == nil {
		t.Fatal("nothing is kept for a key that is used often")
	}
	for _, s := range signers[1:] {
		verify(s)
		verify(hot)
		if len(keys.all) > most {
			t.Fatalf("%d keys are kept, at most %d should be", len(keys.all), most)
		}
	}
	if kept := keys.all[[32]byte(hot.key)]; kept != e || kept.multiples.Load() != made {
		t.Error("the key that was used lately gave way, or its multiples were made anew")
	}
	if e := keys.all[[32]byte(signers[19].key)]; e == nil || e.multiples.Load() != nil {
		t.Error("a key that was used once should be known, without multiples")
	}
}

func FuzzVerify(f *testing.F) {
	public, private, err := ed25519.GenerateKey(bytes.NewReader(make([]byte, 64)))
	if err != nil {
		f.Fatal(err)
	}
	f.Add([]byte(public), []byte("message"), ed25519.Sign(private, []byte("message")))
	for _, b := range small() {
		f.Add(b, []byte{}, slices.Concat(b, make([]byte, 32)))
	}
	f.Fuzz(func(t *testing.T, key, message, signature []byte) {
		if len(key) == ed25519.PublicKeySize {
			both(t, key, message, signature)
		} else if New(1).Verify(key, message, signature) {
			t.Error("a key of a wrong length is taken")
		}
	})
}

func BenchmarkVerify1KiB(b *testing.B) {
	public, private, err := ed25519.GenerateKey(nil)
	if err != nil {
		b.Fatal(err)
	}
	message := make([]byte, 1024)
	signature := ed25519.Sign(private, message)
	keys := New(1)
	for range worthwhile {
		keys.Verify(public, message, signature)
	}
	b.Run("crypto/ed25519", func(b *testing.B) {
		for b.Loop() {
			if !ed25519.Verify(public, message, signature) {
				b.Fatal("refused")
			}
		}
	})
	b.Run("kept multiples", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if !keys.Verify(public, message, signature) {
				b.Fatal("refused")
			}
		}
	})
	b.Run("making multiples", func(b *testing.B) {
		b.ReportAllocs()
		a, err := new(edwards25519.Point).SetBytes(public)
		if err != nil {
			b.Fatal(err)
		}
		for b.Loop() {
			multiplesOf(a)
		}
	})
}
