from hexarec.data.tables import empty_events, event_frame, shortened, stacked


def test_event_frames_fill_what_is_absent():
    frame = event_frame({"user": ["a", "b"], "kind": "click"}, "f", [1, 2])
    assert frame["kind"].to_list() == ["click", "click"] and frame["text"].to_list() == [None, None]
    assert len(empty_events()) == 0 and stacked([]) is None


def test_values_are_cut_short():
    assert shortened(None) == "" and shortened("x" * 80) == "x" * 80 and len(shortened("x" * 81)) == 80
