//go:build !linux

package load

import (
	"context"
	"errors"
)

// haveLoop says that loop works on this system.
const haveLoop = false

func (r *run) loop(context.Context, []*request, []tally) error {
	return errors.New("there is no epoll on this system")
}
