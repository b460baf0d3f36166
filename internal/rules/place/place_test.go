package place_test

import (
	"testing"

	"pgregory.net/rapid"

	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/rules/place"
)

var (
	rooms  = domain.Venue{ID: "a", Name: "Assembly Rooms", Aliases: []string{"The Assembly Rooms, Bath"}, Point: domain.Point{Lat: 51.3862, Lon: -2.3625}}
	ashton = domain.Venue{ID: "b", Name: "Ashton Court Mansion", Point: domain.Point{Lat: 51.4478, Lon: -2.6450}}
	barn   = domain.Venue{ID: "c", Name: "Barn", Point: domain.Point{Lat: 52, Lon: 1}}
	stone  = domain.Venue{ID: "d", Name: "Barn, Stone Farm", Point: domain.Point{Lat: 53, Lon: 1}}
	second = domain.Venue{ID: "e", Name: "barn", Point: domain.Point{Lat: 54, Lon: 1}}
)

func TestALocationNamesAPlace(t *testing.T) {
	t.Parallel()
	for _, venues := range [][]domain.Venue{{rooms, ashton, barn, stone, second}, {second, stone, barn, ashton, rooms}} {
		known := place.Learn(venues)
		for _, c := range []struct {
			location string
			want     domain.Point
		}{
			{"Assembly Rooms", rooms.Point},
			{"  assembly   ROOMS ", rooms.Point},
			{"Assembly Rooms, Bennett Street, Bath BA1 2QH", rooms.Point},
			{"The Assembly Rooms (Bath)", rooms.Point},
			{"Ashton Court Mansion\nLong Ashton, Bristol", ashton.Point},
			{"Barn", barn.Point}, // two have the name: the one made first
			{"Barn, Stone Farm, Kent", stone.Point},
			{"Barn, Other Farm", barn.Point},
			{"Barnstaple", domain.Point{}},
			{"the big Barn", domain.Point{}},
			{"", domain.Point{}},
			{"51.3811, -2.3590", domain.Point{Lat: 51.3811, Lon: -2.359}},
			{"geo:51.3811,-2.3590;u=30", domain.Point{Lat: 51.3811, Lon: -2.359}},
			{"51.3811 -2.3590", domain.Point{Lat: 51.3811, Lon: -2.359}},
			{"51, 2", domain.Point{}},          // may be a house number
			{"151.5, 2.5", domain.Point{}},     // no latitude
			{"0.0, 0.0", domain.Point{}},       // open sea: somebody left it out
			{"51.38.11, -2.3", domain.Point{}}, // no number
		} {
			if got := known.Find(c.location); got != c.want {
				t.Errorf("%q is at %v, want %v", c.location, got, c.want)
			}
		}
	}
}

func TestEveryVenueIsFoundByItsName(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		name := rapid.StringMatching(`[A-Za-z][A-Za-zÀ-Öà-ö0-9 '&.-]{0,40}`).Draw(t, "name")
		v := domain.Venue{ID: "v", Name: name, Point: domain.Point{Lat: 10, Lon: 10}}
		known := place.Learn([]domain.Venue{v, ashton})
		for _, location := range []string{name, " " + name + " ", name + ", Somewhere 12"} {
			if got, ok := known.Venue(location); !ok || got.ID != "v" && place.Fold(name) != place.Fold(ashton.Name) {
				t.Fatalf("%q is not found as %q", name, location)
			}
		}
	})
}

func FuzzCoordinates(f *testing.F) {
	for _, s := range []string{"51.3811, -2.3590", "geo:51.3811,-2.3590", "90.0,180.0", "-90.0 -180.0", "1.5;2.5", "a 1.0,2.0", "999.9,1.1", "", "1.0,2.0,3.0"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		p, ok := place.Coordinates(s)
		if ok != p.Known() || ok && p.Validate("") != nil {
			t.Errorf("%q is at %v, %t", s, p, ok)
		}
		place.Learn([]domain.Venue{{ID: "v", Name: s, Aliases: []string{s + ","}}}).Find(s)
	})
}
