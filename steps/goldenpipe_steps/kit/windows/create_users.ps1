# Make or update local users. A user without a password can log in by SSH key alone, and gets one that nobody knows.
$administrators = (Get-LocalGroup -SID 'S-1-5-32-544').Name
foreach ($name in $given.groups) {
    $doing = "making group $name"
    try {
        if (-not (Get-LocalGroup -Name $name -ErrorAction SilentlyContinue)) {
            if ($name -eq 'Administrators') { continue }
            New-LocalGroup -Name $name | Out-Null
            [Console]::Out.WriteLine("made group $name")
        }
    } catch { Write-Record "failed $doing"; throw }
}
foreach ($user in $given.users) {
    $doing = "making user $($user.name)"
    try {
        $bytes = New-Object byte[] 24
        [Security.Cryptography.RandomNumberGenerator]::Create().GetBytes($bytes)
        $text = if ($user.password) { $user.password } else { [Convert]::ToBase64String($bytes) + 'aA1!' }
        $password = New-Object Security.SecureString
        foreach ($char in $text.ToCharArray()) { $password.AppendChar($char) }
        $found = Get-LocalUser -Name $user.name -ErrorAction SilentlyContinue
        if (-not $found) {
            New-LocalUser -Name $user.name -Password $password -PasswordNeverExpires -AccountNeverExpires | Out-Null
            [Console]::Out.WriteLine("made user $($user.name)")
        } else {
            if ($user.password) { Set-LocalUser -Name $user.name -Password $password }
            [Console]::Out.WriteLine("user $($user.name) exists, updated")
        }
        $groups = @((Get-LocalGroup -SID 'S-1-5-32-545').Name) + @($user.groups)
        foreach ($group in $groups) {
            $doing = "putting user $($user.name) into group $group"
            # the name of this group differs by language; its English name always means it
            $real = if ($group -eq 'Administrators') { $administrators } else { $group }
            $members = @(Get-LocalGroupMember -Name $real -ErrorAction SilentlyContinue | ForEach-Object { $_.Name })
            if ($members -notcontains "$env:COMPUTERNAME\$($user.name)") {
                Add-LocalGroupMember -Group $real -Member $user.name
            }
        }
    } catch { Write-Record "failed $doing"; throw }
}
