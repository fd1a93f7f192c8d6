import numpy as np

from hexarec.data.worlds import world
from hexarec.parts.known import Known

DATA = world("cold").data


def test_as_many_events_are_kept_as_asked_and_no_more_room_than_the_longest_history():
    user, ids = DATA.users.ids.ids[0], DATA.catalog.items.ids
    all_of_them = Known(10**30).fit(DATA)
    longest = int(np.diff(DATA.interactions.offsets).max())
    assert all_of_them.recent_.values.shape == (DATA.n_users, longest, 3)
    own = all_of_them.events(user, ids)
    assert len(own) == int(np.diff(DATA.interactions.offsets)[0])
    assert [one.item for one in Known(2).fit(DATA).events(user, ids)] == [one.item for one in own[-2:]]
