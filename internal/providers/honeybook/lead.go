package honeybook

import (
	"context"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/wedsync/wedsync/internal/domain"
	"github.com/wedsync/wedsync/internal/httpx"
	"github.com/wedsync/wedsync/internal/provider"
	"github.com/wedsync/wedsync/internal/rules/calendartime"
)

// leadURL is where HoneyBook's own contact forms post to, seen in sites that use them.
const leadURL = "https://www.honeybook.com/api/v2/workspace/widget_inquiries"

// formDate is the notation that the forms ask for, MM/DD/YY.
const formDate = "01/02/06"

// leads is the ability to hand enquiries in by a contact form.
type leads struct {
	form   leadForm
	client *httpx.Client
}

var _ provider.LeadSender = leads{}

// LeadsADay is how many the settings allow in 24 hours.
func (l leads) LeadsADay() int {
	if l.form.PerDay == 0 {
		return defaultLeads
	}
	return l.form.PerDay
}

// SendLead posts the form once. Any answer of 2xx is success; what it says is not known to mean anything.
func (l leads) SendLead(ctx context.Context, lead provider.Lead) error {
	if err := lead.Validate(); err != nil {
		return err
	}
	if l.client == nil {
		return domain.E(domain.KindInternal, "send lead: no HTTP client given")
	}
	address := leadURL
	if l.form.URL != "" {
		address = strings.TrimSuffix(l.form.URL, "/") + "/api/v2/workspace/widget_inquiries"
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, address, strings.NewReader(l.fields(lead).Encode()))
	if err != nil {
		return domain.E(domain.KindInternal, "send lead: the address of the form cannot be used")
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	if _, err := l.client.Do(req); err != nil {
		return domain.E(domain.KindOf(err), "send lead: %w", err)
	}
	return nil
}

// fields are those of a contact form, the hidden ones among them. message is a trap for machines and must stay empty.
func (l leads) fields(lead provider.Lead) url.Values {
	v := url.Values{
		"vendor_id": {l.form.VendorID}, "vendor_name": {l.form.VendorName}, "contact_form_id": {l.form.ContactFormID}, "company_id": {l.form.CompanyID},
		"src_host": {"widget.honeybook.com"}, "message": {""},
		"full_name": {lead.FullName}, "email": {lead.Email}, "phone_number": {lead.Phone}, "event_type": {lead.EventType}, "event_date": {""},
		"event_location": {lead.Location}, "event_guests": {""}, "event_budget": {lead.Budget}, "event_details": {lead.Details},
	}
	if lead.EventDate != (calendartime.Date{}) {
		v.Set("event_date", time.Date(lead.EventDate.Year, lead.EventDate.Month, lead.EventDate.Day, 0, 0, 0, 0, time.UTC).Format(formDate))
	}
	if lead.Guests > 0 {
		v.Set("event_guests", strconv.Itoa(lead.Guests))
	}
	return v
}
