"""Reports that take long are worked out one at a time, for each tenant."""

import threading

import pytest
from tests.serve.conftest import backend_over

from hexarec.data.worlds import world
from hexarec.serve.page.values.audit import audit_of
from hexarec.serve.page.values.data import health_of


@pytest.mark.parametrize("report", [health_of, lambda tenant: audit_of(tenant, 7, "", "") or "nothing was shown"])
def test_a_report_that_takes_long_keeps_no_other_tenant_waiting(tmp_path, report):
    service = backend_over(tmp_path, world("checkerboard").data).service
    slow, other = service.tenant(), service.tenant("other")
    other.import_data(world("checkerboard").data)
    with slow.reporting:
        made = []
        for tenant in (other, slow):
            thread = threading.Thread(
                target=lambda tenant=tenant: made.append((tenant.name, report(tenant))), daemon=True
            )
            thread.start()
            thread.join(30 if tenant is other else 0.3)
        assert [name for name, _ in made] == ["other"]
    thread.join(30)
    assert [name for name, _ in made] == ["other", "default"]
    service.close()
