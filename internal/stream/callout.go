package stream

import (
	"fmt"

	"github.com/nats-io/nkeys"
)

// Callout names the public keys of those who say which party a server lets in.
type Callout struct {
	Issuer string // signs the answers: an account key
	XKey   string // what questions are sealed for, since they hold secrets: a curve key
}

// CalloutKeys are the private halves. All nodes share them.
type CalloutKeys struct {
	issuer nkeys.KeyPair
	curve  nkeys.KeyPair
	public Callout
}

// NewCalloutKeys makes the keys from two times 32 random bytes, the same ones from the same bytes.
func NewCalloutKeys(signing, sealing []byte) (*CalloutKeys, error) {
	k := &CalloutKeys{}
	var err error
	if k.issuer, err = nkeys.FromRawSeed(nkeys.PrefixByteAccount, signing); err != nil {
		return nil, fmt.Errorf("callout issuer: %w", err)
	}
	seed, err := nkeys.EncodeSeed(nkeys.PrefixByteCurve, sealing)
	if err != nil {
		return nil, fmt.Errorf("callout xkey: %w", err)
	}
	if k.curve, err = nkeys.FromCurveSeed(seed); err != nil {
		return nil, fmt.Errorf("callout xkey: %w", err)
	}
	if k.public.Issuer, err = k.issuer.PublicKey(); err != nil {
		return nil, fmt.Errorf("callout issuer: %w", err)
	}
	if k.public.XKey, err = k.curve.PublicKey(); err != nil {
		return nil, fmt.Errorf("callout xkey: %w", err)
	}
	return k, nil
}

// Public gives what a server has to know.
func (k *CalloutKeys) Public() Callout { return k.public }

// Issuer signs.
func (k *CalloutKeys) Issuer() nkeys.KeyPair { return k.issuer }

// Open reads what a server has sealed; sender is the server's own curve key.
func (k *CalloutKeys) Open(sealed []byte, sender string) ([]byte, error) {
	return k.curve.Open(sealed, sender)
}

// Seal writes what only the server with the curve key can read.
func (k *CalloutKeys) Seal(plain []byte, recipient string) ([]byte, error) {
	return k.curve.Seal(plain, recipient)
}
