package notify

import (
	"context"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/wedsync/wedsync/internal/domain"
	rules "github.com/wedsync/wedsync/internal/rules/notify"
	"github.com/wedsync/wedsync/internal/store"
)

var maintenanceKinds = map[string]domain.NotifyKind{
	"proposed": domain.NotifyMaintenanceProposed, "announced": domain.NotifyMaintenanceAnnounced, "moved": domain.NotifyMaintenanceMoved,
	"cancelled": domain.NotifyMaintenanceCancelled, "started": domain.NotifyMaintenanceStarted, "ended": domain.NotifyMaintenanceEnded,
}

// maintenance has people told of a window, as the table of package rules/maintenance said. What was to be told of it before and was
// not sent yet is settled: the newest word is enough.
func (p *planner) maintenance(ctx context.Context, f store.Fact) error {
	kind, ok := maintenanceKinds[f.Refs["told"]]
	if !ok {
		return nil
	}
	w, err := p.tx.Maintenance(ctx, domain.MaintenanceID(f.Refs["maintenance"]))
	if err != nil {
		return err
	}
	subject := "maintenance/" + string(w.ID)
	if _, err := p.tx.SettleSubject(ctx, subject, "there is newer word of the maintenance", false); err != nil {
		return err
	}
	m := matter{subject: subject, key: subject + "/" + string(kind) + "/" + f.At.UTC().Format(time.RFC3339Nano),
		Fact: rules.Fact{Kind: kind, Severity: domain.SeverityMedium}}
	if w.State == domain.MaintenanceDone && w.Left > 0 {
		m.Severity = domain.SeverityHigh
	}
	if m.Resources, err = p.tx.ResourcesOfMaintenance(ctx, w); err != nil {
		return err
	}
	return p.tell(ctx, m, nil)
}

func (l loader) maintenance(ctx context.Context, v *View, id domain.MaintenanceID) (over string, err error) {
	w, err := l.tx.Maintenance(ctx, id)
	if err != nil {
		return "", err
	}
	var gone bool
	switch v.Kind {
	case domain.NotifyMaintenanceProposed:
		gone = w.State != domain.MaintenanceProposed
	case domain.NotifyMaintenanceAnnounced, domain.NotifyMaintenanceMoved:
		gone = !w.State.Ahead()
	case domain.NotifyMaintenanceStarted:
		gone = !w.State.Holds()
	default:
		gone = !w.State.Ended()
	}
	if gone {
		return "the maintenance is " + string(w.State) + " by now", nil
	}
	v.What, v.When, v.State = w.Reason, l.span(w.Span()), w.Note
	switch {
	case v.Kind == domain.NotifyMaintenanceProposed && w.Approval == domain.ApprovalByPerson:
		v.State = "somebody must approve it before it begins"
	case v.Kind == domain.NotifyMaintenanceProposed:
		v.State = "it takes place unless somebody cancels it"
	case v.Kind == domain.NotifyMaintenanceEnded && w.Held > 0:
		v.State += "; " + strconv.Itoa(w.Held-w.Left) + " of " + strconv.Itoa(w.Held) + " deliveries and writes that waited are done"
	}
	v.System, err = l.systems(ctx, w.Scopes)
	return "", err
}

// systems names what a window covers.
func (l loader) systems(ctx context.Context, scopes []domain.Scope) (string, error) {
	const most = 3
	var names []string
	for _, s := range scopes {
		switch s.Kind {
		case domain.ScopeOrganization:
			return "all connections", nil
		case domain.ScopePlatform:
			names = append(names, s.Target)
		case domain.ScopeIntegration:
			if len(names) > most {
				continue // it is not named
			}
			i, err := l.tx.Integration(ctx, domain.IntegrationID(s.Target))
			if err != nil {
				return "", err
			}
			names = append(names, i.Name)
		}
	}
	slices.Sort(names)
	if n := len(scopes); n > most {
		return strings.Join(names[:most], ", ") + " and " + strconv.Itoa(n-most) + " more", nil
	}
	return strings.Join(names, ", "), nil
}
