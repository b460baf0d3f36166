package custom

import "sync"

// recipe is all that a program is made of.
type recipe struct {
	src, path string
	offset    int
	scope     scope
	want      want
	allowed   string
}

// maxPrograms bounds the programs that are kept for others, a few kilobytes each.
const maxPrograms = 4096

// programs are those made ready lately, of the whole process.
var programs = programCache{most: maxPrograms}

// programCache keeps a bounded number of programs. When it is full, any one makes room: what is in use comes back at once.
type programCache struct {
	most int

	mu   sync.RWMutex
	made map[recipe]*program
}

func (c *programCache) get(of recipe) *program {
	c.mu.RLock()
	defer c.mu.RUnlock()
	return c.made[of]
}

func (c *programCache) put(of recipe, p *program) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.made == nil {
		c.made = make(map[recipe]*program)
	}
	for old := range c.made {
		if len(c.made) < c.most {
			break
		}
		delete(c.made, old)
	}
	c.made[of] = p
}
