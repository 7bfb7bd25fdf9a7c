package command

import (
	"fmt"
	"slices"

	"github.com/orderstore/orderstore/internal/disclose"
)

// mergePatch applies a JSON merge patch (RFC 7396). Members that stay keep their order and their bytes, so that numbers lose no
// digits; new ones follow in the patch's order, which makes the same patch of the same document the same bytes.
func mergePatch(target, patch []byte) ([]byte, error) {
	if len(patch) == 0 || patch[0] != '{' {
		return patch, nil
	}
	changes, err := disclose.Members(patch)
	if err != nil {
		return nil, fmt.Errorf("merge patch: %w", err)
	}
	var members []disclose.Member
	if len(target) > 0 && target[0] == '{' {
		if members, err = disclose.Members(target); err != nil {
			return nil, fmt.Errorf("merge into: %w", err)
		}
	}
	for _, change := range changes {
		i := slices.IndexFunc(members, func(m disclose.Member) bool { return m.Name == change.Name })
		switch {
		case string(change.Value) == "null":
			if i >= 0 {
				members = slices.Delete(members, i, i+1)
			}
			continue
		case i < 0:
			members, i = append(members, disclose.Member{Name: change.Name}), len(members)
		}
		if members[i].Value, err = mergePatch(members[i].Value, change.Value); err != nil {
			return nil, err
		}
	}
	return disclose.Object(members), nil
}
