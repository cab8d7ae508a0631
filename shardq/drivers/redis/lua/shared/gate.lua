-- How the storage stands while it moves. Partition 0 decides, and the others take over what it says (`follow.lua`).
-- `state.gate` numbers the changes, so that an earlier one never takes the place of a later one. STATE has:
-- leaving (where the content goes), leaving_by (the number of the move), left (whether it is the target's already);
-- arriving (whether content comes), arriving_by, come_from, arrived (how many messages of the move are here).
-- A script that is called again writes that anew, so that copies of it confirm copies of the first call.

-- Whether the partition keeps nothing.
local function is_empty()
    return figure('accepted') - figure('handled') + figure('deferred') + figure('recurrent') + figure('dead')
        + figure('kept') == 0
end

-- Count a change of the gate, and tell all that sleep of it.
local function change_gate(number)
    state.gate = number or math.max(figure('gate') + 1, latest)
    wake_everyone()
    save()
end
